// Shows the OpenAPI document that lies beside this page.
"use strict";

window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#interface",
  deepLinking: true,
  docExpansion: "list",
  filter: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  // An access token is a secret: it is gone with the page.
  persistAuthorization: false,
  // No other host is asked whether the document is valid.
  validatorUrl: null,
});
