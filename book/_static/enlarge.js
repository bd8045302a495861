/* A click, or Enter, on a figure shows it as large as the window; the same again, or Escape, ends it.
   What the theme leaves without a name gets one. */
document.addEventListener("DOMContentLoaded", () => {
  const shown = document.createElement("dialog"), large = document.createElement("img");
  shown.id = "t2-large";
  shown.append(large);
  document.body.append(shown);
  shown.addEventListener("click", () => shown.close());
  // The theme takes Escape for its search and keeps it from the dialog.
  shown.addEventListener("keydown", (event) => {
    if (!["Escape", "Enter", " "].includes(event.key)) return;
    event.preventDefault();
    shown.close();
  });
  for (const image of document.querySelectorAll(".bd-article figure img")) {
    const open = () => {
      large.src = image.src;
      large.alt = image.alt;
      shown.setAttribute("aria-label", image.alt || "figure");
      shown.showModal();
    };
    image.tabIndex = 0;
    image.setAttribute("role", "button");
    image.title = "Enlarge";
    image.addEventListener("click", open);
    image.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      open();
    });
  }
  // Code that is unfolded may scroll; the theme lets the keyboard into what scrolls as sizes change.
  document.addEventListener("toggle", () => dispatchEvent(new Event("resize")), true);
  // The theme's arrows that unfold the contents have a picture only.
  for (const arrow of document.querySelectorAll(".bd-sidebar summary, nav summary")) {
    if (!arrow.textContent.trim()) arrow.setAttribute("aria-label", "Pages below");
  }
});
