/** Loads the part of a page again that is still being made, until it is there. */

const WAIT_MS = 3000;

function waiting() {
  return document.querySelector("[data-waiting]");
}

async function renew() {
  if (!document.hidden) {
    const answer = await fetch(location.href);
    if (answer.ok && !answer.redirected) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const part = waiting();
      const fresh = part && page.getElementById(part.id);
      if (fresh) part.replaceWith(document.adoptNode(fresh));
    }
  }
  if (waiting()) setTimeout(() => void renew(), WAIT_MS);
}

if (waiting()) setTimeout(() => void renew(), WAIT_MS);
