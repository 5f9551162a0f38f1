// Starts Redoc on /redoc, in system fonts: its own come from the internet.
Redoc.init(
  "/openapi.json",
  {
    theme: {
      typography: { fontFamily: "system-ui, sans-serif", headings: { fontFamily: "system-ui, sans-serif" } },
    },
  },
  document.getElementById("redoc"),
);
