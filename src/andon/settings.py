"""Every setting of Andon: name, default, unit and meaning.

One class, read from the environment (prefix ``ANDON_``) and from ``.env`` in the
working directory. The bare names that the replaced systems used (``CONFIDENCE_THRESHOLD``,
``DATABASE_URL``, …) are accepted as aliases. `docs/configuration.md` is generated from
this file; a check fails when they differ.
"""

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from andon.setting_values import Days, Home, Origins, origins


def _names(field: str, *bare: str) -> AliasChoices:
    """The prefixed name first, then the bare names older installations used."""
    return AliasChoices(f"ANDON_{field.upper()}", *bare, field)


class Settings(BaseSettings):
    """All settings, with the defaults of a small edge box.

    Raises:
        pydantic.ValidationError: A value does not parse or is out of range.
    """

    model_config = SettingsConfigDict(
        env_prefix="ANDON_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )

    # -- Where things are ---------------------------------------------------------------
    home: Home = Field(
        default=Path("~/.andon"),
        description="Folder that holds everything an embedded installation owns.",
    )
    database_url: str = Field(
        default="",
        validation_alias=_names("database_url", "DATABASE_URL"),
        description="SQLAlchemy URL of the database. Empty: SQLite at HOME/andon.db.",
    )
    models_dir: Path | None = Field(
        default=None, description="Stored model files. Default: HOME/models."
    )
    deploy_dir: Path | None = Field(
        default=None, description="Watch folder for automatic deployment. Default: HOME/deploy."
    )
    uploads_dir: Path | None = Field(
        default=None, description="Received pictures, by content. Default: HOME/uploads."
    )
    output_dir: Path | None = Field(
        default=None, description="Cache of annotated pictures. Default: HOME/output."
    )
    log_file: Path | None = Field(default=None, description="Log file. Default: HOME/andon.log.")

    # -- HTTP ---------------------------------------------------------------------------
    host: str = Field(
        default="127.0.0.1",
        validation_alias=_names("host", "API_HOST"),
        description="Address to listen on. Anything but loopback needs credentials.",
    )
    port: int = Field(
        default=8080,
        ge=0,
        le=65535,
        validation_alias=_names("port", "API_PORT"),
        description="TCP port of the API, the dashboard and /metrics. 0 picks a free one.",
    )
    auth: Literal["auto", "required", "off"] = Field(
        default="auto",
        description="Who must show a key: auto = everybody unless bound to loopback.",
    )
    api_key: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=_names("api_key", "API_KEY"),
        description="The key that X-API-Key must carry; at least 16 characters.",
    )
    allowed_hosts: str = Field(
        default="",
        description="Further Host header values to accept, comma-separated (a proxy's name).",
    )
    allowed_origins: Origins = Field(
        default="",
        description="Web pages of others that may send telemetry and events from a browser and "
        "read their numbers: origins such as https://app.example:8443, comma-separated.",
    )
    request_timeout: float = Field(
        default=30.0, gt=0, description="Deadline of one request, seconds, queueing included."
    )
    max_image_bytes: int = Field(
        default=10 * 1024 * 1024,
        ge=1024,
        validation_alias=_names("max_image_bytes", "MAX_FILE_SIZE"),
        description="Largest picture accepted, bytes.",
    )
    max_image_pixels: int = Field(
        default=40_000_000,
        ge=1,
        description="Largest picture accepted, width times height, before it is decoded.",
    )
    max_model_bytes: int = Field(
        default=512 * 1024 * 1024, ge=1024, description="Largest model file accepted, bytes."
    )

    # -- Serving ------------------------------------------------------------------------
    default_model: str = Field(
        default="pcb", description="Registered model meant where a route names none."
    )
    confidence_threshold: float = Field(
        default=0.5,
        ge=0,
        le=1,
        validation_alias=_names("confidence_threshold", "CONFIDENCE_THRESHOLD"),
        description="Lowest confidence of an answered detection, 0 to 1. Lower finds more, "
        "with more false alarms.",
    )
    inference_workers: int = Field(
        default=0, ge=0, description="Inferences at a time per model. 0: one per CPU, at most 4."
    )
    inference_threads: int = Field(
        default=0,
        ge=0,
        description="Threads ONNX Runtime may use inside one inference. 0: one per CPU.",
    )
    queue_size: int = Field(
        default=256, ge=1, description="Requests that may wait or run; beyond: 503."
    )
    result_cache_size: int = Field(
        default=512,
        ge=0,
        description="Answers kept in memory for identical pictures, entries. 0: no cache.",
    )
    eim_processes: int = Field(
        default=1, ge=1, le=16, description="Processes per active .eim version."
    )
    eim_timeout: float = Field(
        default=10.0, gt=0, description="Deadline of one message to an .eim process, seconds."
    )
    eim_start_timeout: float = Field(
        default=30.0,
        gt=0,
        description="Time an .eim process has to start and answer its first inference, seconds.",
    )
    eim_memory_bytes: int = Field(
        default=2 * 1024**3,
        ge=0,
        description="Address space of an .eim process, bytes. 0: no limit.",
    )

    # -- Log, retention -----------------------------------------------------------------
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO",
        validation_alias=_names("log_level", "LOG_LEVEL"),
        description="Least severe message that is logged.",
    )
    commit_linger: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Extra time a group commit waits for more rows, seconds. An SD card gains "
        "from 0.01.",
    )
    keep_uploads_days: float = Field(
        default=7.0, gt=0, description="Received pictures are deleted after this many days."
    )
    keep_output_days: float = Field(
        default=30.0,
        gt=0,
        description="Cached annotated pictures are deleted after this many days.",
    )
    max_uploads_bytes: int = Field(
        default=2 * 1024**3,
        ge=0,
        description="Received pictures are deleted, oldest first, beyond this many bytes. "
        "0: no limit.",
    )
    keep_predictions_days: Days = Field(
        default=90.0,
        description="Predictions without a label are deleted after this many days; the totals of "
        "their versions stay. 0: never.",
    )
    keep_labelled_days: Days = Field(
        default=0.0,
        description="Predictions with a label are deleted after this many days, with the label. "
        "0: never, for accuracy and training need them.",
    )
    keep_telemetry_days: Days = Field(
        default=90.0,
        description="Eye measurements are deleted after this many days; their sums by minute, hour "
        "and day stay. Older ones are refused from then on. 0: never.",
    )
    keep_jobs_days: Days = Field(
        default=90.0,
        description="Jobs that are over, replays among them, are deleted after this many days. "
        "0: never.",
    )
    keep_alerts_days: Days = Field(
        default=400.0,
        description="Resolved alerts are deleted after this many days. 0: never.",
    )
    min_free_bytes: int = Field(
        default=200 * 1024**2,
        ge=0,
        description="Below this much free disk, pictures are no longer kept; answers go on.",
    )

    # -- Jobs, watch folder -------------------------------------------------------------
    job_workers: int = Field(default=1, ge=0, le=64, description="Threads that run queued jobs.")
    job_attempts: int = Field(
        default=3, ge=1, description="Times a job is tried before it counts as failed."
    )
    max_queued_jobs: int = Field(
        default=10_000, ge=1, description="Jobs that may wait; beyond: 503."
    )
    watch: bool = Field(default=True, description="Deploy model files dropped into DEPLOY_DIR.")
    watch_settle: float = Field(
        default=1.0,
        gt=0,
        description="Time a file's size must stand still before it counts as complete, seconds.",
    )
    watch_timeout: float = Field(
        default=10.0,
        gt=0,
        description="Time without growth after which an unusable file is rejected, seconds.",
    )

    # -- Training -----------------------------------------------------------------------
    training_dir: Path | None = Field(
        default=None,
        description="What each training leaves: its log, report and model. Default: HOME/training.",
    )
    recipes_dir: Path | None = Field(
        default=None,
        description="Recipes of your own, one .yaml or .py file each. Default: HOME/recipes.",
    )
    data_dir: Path | None = Field(
        default=None,
        description="Data sets to train on; downloads are kept here. Default: HOME/data.",
    )
    training_timeout: float = Field(
        default=3600.0, gt=0, description="Longest time one training may take, seconds."
    )
    training_memory_bytes: int = Field(
        default=4 * 1024**3,
        ge=0,
        description="Address space of a training process, bytes. 0: no limit.",
    )
    training_threads: int = Field(
        default=0,
        ge=0,
        description="Threads a training may use. 0: one fewer than there are CPUs, at least one.",
    )
    keep_training_days: float = Field(
        default=90.0,
        gt=0,
        description="Folders of finished trainings are deleted after this many days; their "
        "reports and versions stay.",
    )
    retrain_cron: str = Field(
        default="0 2 * * 0",
        max_length=64,
        description="When every recipe with `retrain: true` is trained again: a cron expression, "
        "UTC. Empty: never. A time that passed while the server was off is made up for.",
    )
    mlflow_tracking_uri: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=_names("mlflow_tracking_uri", "MLFLOW_TRACKING_URI"),
        description="MLflow server or store that trainings are mirrored to. Empty: a store at "
        "HOME/mlflow where the extra `mlflow` is installed, else none. `off`: never.",
    )
    mlflow_timeout: float = Field(
        default=20.0,
        gt=0,
        description="Longest wait for one answer of MLflow, and for all of MLflow at the end of a "
        "training, seconds. The training goes on without.",
    )

    # -- Rows ---------------------------------------------------------------------------
    default_tabular_model: str = Field(
        default="heart-disease",
        description="Registered model meant where a row names none.",
    )
    max_batch_rows: int = Field(
        default=100_000, ge=1, description="Rows that one /predict/batch may hold."
    )

    # -- Watching and acting ------------------------------------------------------------
    monitor: bool = Field(
        default=True,
        description="Watch the models: performance, drift, cameras, data. Off: answers only.",
    )
    monitor_interval: float = Field(
        default=60.0,
        ge=0.2,
        le=3600,
        description="Time between two looks at every model, seconds.",
    )
    monitor_window: int = Field(
        default=100,
        ge=10,
        le=10_000,
        description="Newest answers of a version that performance is measured over.",
    )
    drift_window: int = Field(
        default=100,
        ge=20,
        le=10_000,
        validation_alias=_names("drift_window", "DRIFT_DETECTION_WINDOW"),
        description="Answers that one drift test looks at.",
    )
    drift_reference: int = Field(
        default=500,
        ge=50,
        le=20_000,
        description="First answers to measure drift from, where a model brings no statistics.",
    )
    drift_reference_hours: float = Field(
        default=24.0,
        ge=0,
        le=24 * 14,
        description="Least time these must span, hours: an unseen night shift looks like drift.",
    )
    label_window: int = Field(
        default=200,
        ge=30,
        le=10_000,
        description="Newest labelled answers that accuracy is measured over for acting on it.",
    )
    accuracy_rollback_threshold: float = Field(
        default=0.7,
        ge=0,
        le=1,
        validation_alias=_names("accuracy_rollback_threshold", "ACCURACY_ROLLBACK_THRESHOLD"),
        description="Accuracy under which a version counts as bad; the policy file may differ.",
    )
    performance_degradation_threshold: float = Field(
        default=2.0,
        gt=1,
        validation_alias=_names(
            "performance_degradation_threshold", "PERFORMANCE_DEGRADATION_THRESHOLD"
        ),
        description="Multiple of a version's baseline latency from which it counts as bad.",
    )
    agent: Literal["on", "dry-run", "off"] = Field(
        default="on",
        description="Acts by the policy, only writes down what it would do, or decides nothing.",
    )
    policy_file: Path | None = Field(
        default=None,
        description="What the agent may do. Default: HOME/policy.toml, else what is built in.",
    )
    reports_dir: Path | None = Field(
        default=None,
        description="Reports and diagnostics that the agent makes. Default: HOME/reports.",
    )
    keep_reports_days: float = Field(
        default=90.0, gt=0, description="They are deleted after this many days."
    )
    keep_metrics_days: float = Field(
        default=400.0,
        gt=0,
        description="Measured numbers, for the trends, are deleted after this many days.",
    )
    webhook_url: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=_names("webhook_url", "WEBHOOK_URL"),
        description="Alerts, approvals and rollbacks are posted here as JSON. Empty: log only.",
    )
    webhook_timeout: float = Field(
        default=5.0, gt=0, le=60, description="Longest wait for the webhook's answer, seconds."
    )
    lease_seconds: float = Field(
        default=10.0,
        ge=1,
        le=300,
        description="Of several servers on one database one watches and acts. When it falls "
        "silent, another takes over after this many seconds.",
    )
    camera_dark: float = Field(
        default=0.06,
        ge=0,
        le=1,
        description="A picture whose brightest hundredth is darker than this is too dark, 0 to 1.",
    )
    camera_bright: float = Field(
        default=0.94,
        ge=0,
        le=1,
        description="A picture whose darkest hundredth is brighter than this is blown out, 0 to 1.",
    )
    camera_frozen_after: int = Field(
        default=5,
        ge=2,
        description="Times in a row a camera sends the same picture before it counts as frozen.",
    )

    # -- The floor ----------------------------------------------------------------------
    site: str = Field(
        default="main",
        min_length=1,
        max_length=64,
        validation_alias=_names("site", "SITE_ID"),
        description="Site of events that name none. MQTT topics carry it: andon/SITE/events.",
    )
    factory_max_gap: float = Field(
        default=1800.0,
        gt=0,
        le=86_400,
        description="Longest time one state event counts when no later one comes, seconds.",
    )
    factory_auto_register: bool = Field(
        default=False,
        description="Register workers and workstations that events name for the first time. "
        "Otherwise such events are refused.",
    )
    event_max_ahead: float = Field(
        default=300.0,
        ge=0,
        description="Events dated further ahead of this machine's clock are refused, seconds.",
    )
    max_batch_bytes: int = Field(
        default=16 * 1024 * 1024,
        ge=1024,
        description="Largest JSON batch of events accepted, bytes. NDJSON has its own limit.",
    )
    max_stream_bytes: int = Field(
        default=1024**3,
        ge=1024,
        description="Largest NDJSON upload of events accepted, bytes.",
    )
    drowsiness_warning_rate: float = Field(
        default=20.0,
        ge=0,
        le=100,
        description="Last-hour alert rate from which /dashboard says warning, percent.",
    )
    drowsiness_critical_rate: float = Field(
        default=50.0,
        ge=0,
        le=100,
        description="Last-hour alert rate from which /dashboard says critical, percent.",
    )
    ear_threshold: float = Field(
        default=0.2,
        gt=0,
        le=1,
        validation_alias=_names("ear_threshold", "EAR_THRESHOLD"),
        description="Eye aspect ratio below which an eye counts as closed.",
    )
    mqtt_url: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=_names("mqtt_url", "MQTT_URL"),
        description="Broker to take events from: mqtt://[USER:PASSWORD@]HOST[:1883], or mqtts:// "
        "for TLS. Empty: no MQTT.",
    )
    mqtt_client_id: str = Field(
        default="",
        max_length=64,
        description="Name of the persistent session at the broker. Empty: made once and kept in "
        "HOME/mqtt-client-id.",
    )
    mqtt_topic_prefix: str = Field(
        default="andon",
        min_length=1,
        max_length=128,
        description="First level of the topics: PREFIX/SITE/events and PREFIX/SITE/telemetry.",
    )

    @property
    def origins(self) -> frozenset[str]:
        """The origins in `allowed_origins`, as browsers write them."""
        return origins(self.allowed_origins)

    @property
    def loopback(self) -> bool:
        """Whether only programs of this machine can reach the server."""
        return self.host in {"127.0.0.1", "::1", "localhost"}

    @property
    def credentials_required(self) -> bool:
        """Whether every route but health needs a principal."""
        return self.auth == "required" or (self.auth == "auto" and not self.loopback)

    @property
    def url(self) -> str:
        """The database URL in force."""
        return self.database_url or f"sqlite:///{self.home / 'andon.db'}"

    @property
    def models(self) -> Path:
        """Folder of stored model files: ``models/<model>/model_v<N>.<suffix>``."""
        return self.models_dir or self.home / "models"

    @property
    def deploy(self) -> Path:
        """The watch folder."""
        return self.deploy_dir or self.home / "deploy"

    @property
    def uploads(self) -> Path:
        """Folder of received pictures."""
        return self.uploads_dir or self.home / "uploads"

    @property
    def training(self) -> Path:
        """Folder of trainings: ``training/<run id>/``."""
        return self.training_dir or self.home / "training"

    @property
    def recipes(self) -> Path:
        """Folder of the user's own recipes."""
        return self.recipes_dir or self.home / "recipes"

    @property
    def data(self) -> Path:
        """Folder of data sets."""
        return self.data_dir or self.home / "data"

    @property
    def policy(self) -> Path:
        """The policy file, whether there is one or not."""
        return self.policy_file or self.home / "policy.toml"

    @property
    def reports(self) -> Path:
        """Folder of reports and diagnostics."""
        return self.reports_dir or self.home / "reports"

    @property
    def output(self) -> Path:
        """Folder of cached annotated pictures."""
        return self.output_dir or self.home / "output"

    @property
    def log(self) -> Path:
        """The log file."""
        return self.log_file or self.home / "andon.log"
