// Runs before the page is painted, so that a page in the chosen theme does not flash in the other one.
const theme = localStorage.getItem("theme");
if (theme) document.documentElement.dataset.theme = theme;
document.documentElement.classList.add("js");
