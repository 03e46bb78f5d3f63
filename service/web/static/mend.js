/** What Swagger UI and ReDoc leave without a name, or where no key leads to, is mended as it appears. */

const MENDED = [
  [".copy-to-clipboard button", "aria-label", "Copy"],
  ["textarea.body-param__text", "aria-label", "Request body"],
  ["select.dropdown-select", "aria-label", "Media type"],
  ["select#servers", "aria-label", "Server"],
  ["pre.microlight, pre.curl", "tabindex", "0"],
  ["h5", "aria-level", "3"],
];

/** @param {Element} root */
export function mend(root) {
  const all = () =>
    MENDED.forEach(([selector, name, value]) =>
      root.querySelectorAll(selector).forEach((found) => found.setAttribute(name, value)),
    );
  new MutationObserver(all).observe(root, { childList: true, subtree: true });
}
