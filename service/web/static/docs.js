/** Swagger UI for this service. */

import { withDocument } from "./document.js";
import { mend } from "./mend.js";

/* global SwaggerUIBundle: a script that the page brings. */

const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

mend(document.getElementById("shown"));
withDocument((spec, key) => {
  spec.info.description += "\n\n## Operations"; // its headings skip a level otherwise
  const ui = SwaggerUIBundle({
    dom_id: "#shown",
    spec,
    displayRequestDuration: true,
    tryItOutEnabled: true,
    syntaxHighlight: false, // an answer of 100,000 numbers would keep the browser busy for minutes
    validatorUrl: null, // it would be asked over the network
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    onComplete: () => key && ui.preauthorizeApiKey("header", key),
  });
});
