/** The thanks page: copying the completion code, where the browser offers it. */

import { byId } from "./announce.js";

const button = document.getElementById("copy-code");
if (button && navigator.clipboard) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(byId("completion-code").textContent ?? "");
    button.textContent = button.dataset.copied ?? "";
  });
}
