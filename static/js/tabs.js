// @ts-check
/**
 * Tabs by the ARIA Authoring Practices pattern: arrow keys move, Home and End jump, the chosen
 * one shows its panel. Without script all panels are simply there.
 */

/**
 * @param {HTMLElement} list an element of role tablist whose tabs name panels by aria-controls
 * @param {(panelId: string) => void} [onSelect]
 * @returns {(panelId: string) => void} selects a tab by its panel
 */
export function setUpTabs(list, onSelect) {
  const tabs = /** @type {HTMLElement[]} */ ([...list.querySelectorAll("[role=tab]")]);

  /** @param {HTMLElement} chosen */
  function select(chosen) {
    for (const tab of tabs) {
      const selected = tab === chosen;
      tab.setAttribute("aria-selected", String(selected));
      tab.tabIndex = selected ? 0 : -1;
      const panel = document.getElementById(tab.getAttribute("aria-controls") ?? "");
      if (panel) panel.hidden = !selected;
    }
    onSelect?.(chosen.getAttribute("aria-controls") ?? "");
  }

  list.addEventListener("click", (event) => {
    const tab = event.target instanceof Element ? event.target.closest("[role=tab]") : null;
    if (tab instanceof HTMLElement) select(tab);
  });
  list.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const moves = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 };
    const to = moves[/** @type {keyof typeof moves} */ (event.key)];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const tab = tabs[(to + tabs.length) % tabs.length];
    tab.focus();
    select(tab);
  });
  const first = tabs.find((tab) => tab.getAttribute("aria-selected") === "true") ?? tabs[0];
  if (first) select(first);
  return (panelId) => {
    const tab = tabs.find((each) => each.getAttribute("aria-controls") === panelId);
    if (tab) select(tab);
  };
}
