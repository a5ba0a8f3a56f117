/**
 * The instructions page: the device check first, then how it works; the first pairs load meanwhile, where no questions
 * about the instructions come before them.
 */

import { byId } from "./announce.js";
import { preloadFirstPairs } from "./preload.js";
import { runScreening } from "./screening.js";
import { loadTexts } from "./text.js";

await loadTexts();
const load = () => {
  if (!("questionsFirst" in byId("instructions").dataset)) void preloadFirstPairs();
};
const screening = document.getElementById("screening");
if (screening) {
  runScreening(screening, () => {
    const moved = !screening.hidden;
    screening.hidden = true;
    byId("instructions").hidden = false;
    if (moved) byId("instructions-heading").focus();
    window.scrollTo(0, 0);
    load();
  });
} else load();
