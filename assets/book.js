// What scrolls sideways must be in reach of the keyboard, and only while it does: formulas, tables,
// code and outputs, also when they appear late, in a solution that is opened.
addEventListener("load", () => {
  const reach = ({ target }) => {
    if (target.scrollWidth > target.clientWidth + 1) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  };
  const observer = new ResizeObserver((entries) => entries.forEach(reach));
  const wide = ".katex-display, .pst-scrollable-table-container, .output, pre";
  document.querySelectorAll(`.bd-article :is(${wide})`).forEach((element) => observer.observe(element));
});
