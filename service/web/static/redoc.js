/** ReDoc for this service, in the colours of the page. */

import { withDocument } from "./document.js";
import { mend } from "./mend.js";

/* global Redoc: a script that the page brings. */

const dark = matchMedia("(prefers-color-scheme: dark)");
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

mend(document.getElementById("shown"));
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
        primary: { main: "#2352c8" }, // white stands on it, or it on white
        text: { primary: colour("--text"), secondary: colour("--faint") },
        success: { main: colour("--good") },
        error: { main: colour("--bad") },
        responses: {
          success: { color: colour("--good"), backgroundColor: colour("--good-soft"), tabTextColor: "#86e0a5" },
          error: { color: colour("--bad"), backgroundColor: colour("--bad-soft"), tabTextColor: "#ffa6a0" },
        },
        border: { dark: colour("--line"), light: colour("--line") },
      },
      typography: {
        fontFamily: font,
        headings: { fontFamily: font },
        code: { fontFamily: colour("--mono"), color: colour("--bad"), backgroundColor: colour("--sunken") },
        links: { color: colour("--accent") },
      },
      sidebar: { backgroundColor: colour("--panel"), textColor: colour("--text"), activeTextColor: colour("--accent") },
      rightPanel: { backgroundColor: "#1a1e26" },
      schema: {
        nestedBackground: colour("--sunken"),
        typeNameColor: colour("--faint"),
        typeTitleColor: colour("--faint"),
      },
    },
  };
}
