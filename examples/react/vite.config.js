export default {
  root: import.meta.dirname,
  build: { emptyOutDir: true, rolldownOptions: { input: ["vercel.html", "agui.html"].map((page) => `${import.meta.dirname}/${page}`) } },
};
