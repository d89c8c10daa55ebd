// Shows the OpenAPI document next to this page.
"use strict";

window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#interface",
  deepLinking: true,
  docExpansion: "list",
  filter: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  // An access token is a secret: do not store it.
  persistAuthorization: false,
  // Do not ask another host to validate the document.
  validatorUrl: null,
});
