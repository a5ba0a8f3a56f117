/** Loads the part of a page again that is still being made, until it is there. */

const WAIT_MS = 3000;

function waiting() {
  return document.querySelector("[data-waiting]");
}

async function load() {
  const answer = await fetch(location.href);
  if (!answer.ok || answer.redirected) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const part = waiting();
  const fresh = part && page.getElementById(part.id);
  if (fresh) part.replaceWith(document.adoptNode(fresh));
}

async function renew() {
  try {
    if (!document.hidden) await load();
  } catch {
    // The network or the server is away for a moment: the next try may find it back.
  }
  if (waiting()) setTimeout(() => void renew(), WAIT_MS);
}

if (waiting()) setTimeout(() => void renew(), WAIT_MS);
