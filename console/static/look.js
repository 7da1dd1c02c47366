// Before the first paint: where the reader has not chosen a look, that of the system.
(() => {
  const root = document.documentElement;
  if (root.dataset.look !== "auto") return;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const apply = () => root.setAttribute("data-bs-theme", dark.matches ? "dark" : "light");
  apply();
  dark.addEventListener("change", apply);
})();
