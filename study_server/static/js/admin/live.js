/** Renews the part of an owner's page that changes, while the page is in view. */

const part = document.getElementById("live");
/** @type {EventSource|null} */
let news = null;

function listen() {
  if (document.hidden) {
    news?.close();
    news = null;
  } else if (news === null && part?.dataset.news) {
    news = new EventSource(part.dataset.news);
    news.addEventListener("message", (event) => {
      // HTML of this server's own template, in which every value is escaped.
      if (part) part.innerHTML = JSON.parse(event.data);
    });
  }
}

document.addEventListener("visibilitychange", listen);
listen();
