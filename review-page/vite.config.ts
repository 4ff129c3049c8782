import { readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { defineConfig, type Plugin } from "vite";

/** The folder of the package that a bundled file belongs to; null for the page's own files. */
function packageOf(id: string): string | null {
  const within = /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(id.replaceAll("\0", ""));
  return within?.[1] ?? null;
}

function licenceOf(folder: string): string {
  const told = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((name) => /^(licen[cs]e|copying)/i.test(name));
  const text = file ? readFileSync(join(folder, file), "utf8").trim() : "The package holds no text of its licence.";
  return `${told.name} ${told.version}\nLicence: ${told.license ?? "not told"}\n\n${text}\n`;
}

/** Writes `licenses.txt`: every package that any part of the page was bundled from, with the text of its licence. */
function licences(): Plugin {
  return {
    name: "licences",
    generateBundle(_, bundle) {
      const chunks = Object.values(bundle).flatMap((one) => (one.type === "chunk" ? one.moduleIds : []));
      const folders = [...new Set(chunks.map(packageOf).filter((one) => one !== null))];
      const texts = folders.map(licenceOf).sort();
      this.emitFile({ type: "asset", fileName: "licenses.txt", source: texts.join(`\n${"-".repeat(80)}\n\n`) });
    },
  };
}

export default defineConfig({
  base: "./",
  plugins: [licences()],
  build: {
    outDir: join(dirname(import.meta.filename), "../src/angio_pipeline/review/dist"),
    emptyOutDir: true,
    target: "es2022",
    // The policy of the server allows no inline script.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 4000,
    rolldownOptions: {
      output: {
        // Libraries apart from the page's own code: a change of the page leaves their files as they are.
        codeSplitting: { groups: [{ name: "cornerstone", test: /node_modules\/(?!uplot)/ }, { name: "uplot", test: /node_modules\/uplot/ }] },
      },
    },
  },
});
