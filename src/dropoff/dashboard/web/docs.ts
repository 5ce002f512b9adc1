// The API documentation: Swagger UI from our own server, pointed at our own schema.
import SwaggerUI from "swagger-ui-dist/swagger-ui-bundle.js";
import "swagger-ui-dist/swagger-ui.css";
import "./docs.css";

const dark = matchMedia("(prefers-color-scheme: dark)");
const followTheme = () => document.documentElement.classList.toggle("dark-mode", dark.matches);

dark.addEventListener("change", followTheme);
followTheme();
SwaggerUI({
  url: "/api/openapi.json",
  dom_id: "#api-docs",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
});
// The reference minds the part of the address after #, and the browser then leaves the focus where it is.
document.querySelector(".skip")?.addEventListener("click", () => document.getElementById("main")?.focus());
