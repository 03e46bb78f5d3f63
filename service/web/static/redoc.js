/** ReDoc for this service, in the colours of the page. */

import { withDocument } from "./document.js";

/* global Redoc: a script that the page brings. */

const dark = matchMedia("(prefers-color-scheme: dark)");
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

withDocument((spec) => {
  const show = () => Redoc.init(spec, options(), document.getElementById("shown"));
  dark.addEventListener("change", show);
  show();
});

function options() {
  const font = "system-ui, sans-serif"; // its own would come over the network
  return {
    hideDownloadButton: true,
    disableTelemetry: true,
    theme: {
      colors: {
        primary: { main: colour("--accent") },
        text: { primary: colour("--text"), secondary: colour("--faint") },
        border: { dark: colour("--line"), light: colour("--line") },
      },
      typography: {
        fontFamily: font,
        headings: { fontFamily: font },
        code: { fontFamily: colour("--mono"), color: colour("--bad"), backgroundColor: colour("--sunken") },
        links: { color: colour("--accent") },
      },
      sidebar: { backgroundColor: colour("--panel"), textColor: colour("--text") },
      rightPanel: { backgroundColor: "#1a1e26" },
      schema: { nestedBackground: colour("--sunken"), typeNameColor: colour("--faint"), typeTitleColor: colour("--faint") },
    },
  };
}
