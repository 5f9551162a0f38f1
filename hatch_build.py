"""Makes what a browser draws charts with, when Andon is built or installed from its source.

The dashboard's charts are Vega-Lite specifications. vl-convert-python holds Vega, Vega-Lite and
Vega-Embed and writes them as one script without asking the network; the script goes into the
wheel and, for an editable install, into the source tree, where git ignores it. vl-convert itself
(84 MB installed) is needed only here: where the script is there already and comes from the
version that pyproject.toml names, the build does not even ask for it.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUNDLE = "src/andon/web/dashboard/static/vega.js"
LICENCES = "src/andon/web/dashboard/static/vega.licenses.txt"


class VegaBundle(BuildHookInterface):
    """Writes `BUNDLE` before the wheel is put together."""

    def dependencies(self) -> list[str]:
        """What the build environment needs beyond hatchling."""
        return [] if self._is_current() else [self._bundler]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Make the script where it is missing or of another version, and take it along."""
        if not self._is_current():
            self._write()
        build_data["artifacts"].append(f"/{BUNDLE}")

    @property
    def _bundler(self) -> str:
        """The one version, so that everybody's script is the same."""
        return str(self.config["bundler"])

    @property
    def _head(self) -> str:
        return f"// Made by {self._bundler}. Licences: vega.licenses.txt beside this file.\n"

    def _is_current(self) -> bool:
        path = Path(self.root, BUNDLE)
        if not path.is_file():
            return False
        with path.open(encoding="utf-8") as file:
            return file.readline() == self._head

    def _write(self) -> None:
        import vl_convert  # noqa: PLC0415 - only a build that makes the script has it

        told = Path(self.root, LICENCES).read_text("utf-8")
        for name, release in (
            ("Vega", vl_convert.get_vega_version()),
            ("Vega-Lite", vl_convert.get_vegalite_versions()[-1]),
            ("Vega-Embed", vl_convert.get_vega_embed_version()),
        ):
            if f"{name} {release}" not in told:
                raise ValueError(
                    f"{self._bundler} bundles {name} {release}, which {LICENCES} does not tell. "
                    "Compare the licences and write the new version there."
                )
        path = Path(self.root, BUNDLE)
        fresh = path.with_suffix(".js.new")
        fresh.write_text(self._head + vl_convert.javascript_bundle(), "utf-8")
        fresh.replace(path)
