/** Swagger UI for this service. */

import { withDocument } from "./document.js";

/* global SwaggerUIBundle: a script that the page brings. */

withDocument((spec, key) => {
  const ui = SwaggerUIBundle({
    dom_id: "#shown",
    spec,
    deepLinking: true,
    displayRequestDuration: true,
    tryItOutEnabled: true,
    validatorUrl: null, // it would be asked over the network
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    onComplete: () => key && ui.preauthorizeApiKey("header", key),
  });
});
