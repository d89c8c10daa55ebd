// Shows the OpenAPI document next to this page.
"use strict";

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const choose = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", choose);
choose();

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
