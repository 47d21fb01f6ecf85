// A formula that is wider than its column scrolls; the keyboard must reach it, and only then.
addEventListener("load", () => {
  const formulas = document.querySelectorAll(".katex-display");
  const update = () => {
    for (const formula of formulas) {
      if (formula.scrollWidth > formula.clientWidth + 1) formula.tabIndex = 0;
      else formula.removeAttribute("tabindex");
    }
  };
  update();
  addEventListener("resize", update);
});
