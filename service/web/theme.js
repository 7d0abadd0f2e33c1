// Light, dark, or as the system has it; remembered by this browser.

const NAMES = ["auto", "light", "dark"];
const KEY = "eegq-theme";

export function followTheme() {
  const name = localStorage.getItem(KEY) ?? "auto";
  document.documentElement.style.colorScheme = name === "auto" ? "light dark" : name;
  return name;
}

export function nextTheme() {
  const name = NAMES[(NAMES.indexOf(localStorage.getItem(KEY) ?? "auto") + 1) % NAMES.length];
  localStorage.setItem(KEY, name);
  followTheme();
  document.dispatchEvent(new CustomEvent("eegq:theme"));
  return name;
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
  document.dispatchEvent(new CustomEvent("eegq:theme")),
);

const probe = document.createElement("span");
probe.hidden = true;

/** The colour that a custom property stands for here and now: a canvas takes no var(). */
export function colour(name) {
  if (!probe.isConnected) document.documentElement.append(probe);
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}
