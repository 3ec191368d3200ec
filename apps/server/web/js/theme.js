// Light or dark: the system's choice unless the reader made one. A classic script in the head, so that no page flashes in the wrong colours.
'use strict';
(() => {
  const name = 'gritstone-theme';
  const system = window.matchMedia('(prefers-color-scheme: dark)');
  const chosen = () => {
    const value = localStorage.getItem(name);
    return value === 'light' || value === 'dark' ? value : null;
  };
  const apply = () => {
    const theme = chosen() ?? (system.matches ? 'dark' : 'light');
    document.documentElement.dataset.theme = theme;
    const button = document.getElementById('theme-button');
    if (button) button.setAttribute('aria-label', theme === 'dark' ? 'Use light colours' : 'Use dark colours');
  };
  apply();
  system.addEventListener('change', apply);
  document.addEventListener('DOMContentLoaded', () => {
    document.getElementById('theme-button').addEventListener('click', () => {
      const theme = document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark';
      if ((theme === 'dark') === system.matches) localStorage.removeItem(name);
      else localStorage.setItem(name, theme);
      apply();
    });
    apply();
  });
})();
