// The pages work without this script. With it, times are in the visitor's zone,
// and the operator's page keeps itself up to date.
"use strict";

const formats = {
  moment: new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }),
  time: new Intl.DateTimeFormat(undefined, { timeStyle: "medium" }),
};

function localTimes(part) {
  for (const time of part.querySelectorAll("time")) {
    const moment = new Date(time.dateTime);
    if ("keep" in time.dataset) { // its text says more than the moment, such as "in 3 days"
      time.title = formats.moment.format(moment);
    } else {
      time.textContent = formats[time.dataset.format ?? "moment"].format(moment);
      time.title = moment.toISOString();
    }
  }
}

localTimes(document);

const refreshEvery = 2000; // milliseconds
const live = document.getElementById("live");

async function refresh() {
  try {
    const answer = await fetch(location.origin + location.pathname, { cache: "no-store" });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const news = page.getElementById("live");
    // Somebody who is reading a table with the keyboard is not disturbed.
    if (answer.ok && news && !live.contains(document.activeElement)) {
      localTimes(news);
      live.replaceChildren(...news.childNodes);
    }
  } catch {
    // The app is away for a moment; the next turn tries again.
  }
}

if (live) {
  const button = document.createElement("button");
  button.className = "quiet";
  document.querySelector("[data-refresh]").replaceWith(button);
  let timer = 0;
  function toggle() {
    if (timer) clearInterval(timer);
    timer = timer ? 0 : setInterval(refresh, refreshEvery);
    button.textContent = timer ? "Pause" : "Go on";
  }
  button.addEventListener("click", toggle);
  toggle();
}
