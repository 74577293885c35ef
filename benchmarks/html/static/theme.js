"use strict";
// before anything is drawn: the theme that was chosen, where the browser keeps it
try {
  const chosen = localStorage.getItem("theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
} catch { /* kept nowhere */ }
