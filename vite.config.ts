import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

const web = "src/dropoff/dashboard/web";
const outDir = "src/dropoff/dashboard/static";

/** Writes `file.gz` next to every built file, so that the server never compresses. */
function precompress(): Plugin {
  return {
    name: "precompress",
    writeBundle() {
      const assets = join(outDir, "assets");
      for (const name of readdirSync(assets)) {
        const path = join(assets, name);
        writeFileSync(`${path}.gz`, gzipSync(readFileSync(path), { level: 9 }));
      }
    },
  };
}

export default defineConfig({
  base: "/static/",
  publicDir: false,
  plugins: [precompress()],
  build: {
    outDir,
    emptyOutDir: true,
    manifest: "manifest.json",
    license: { fileName: "licenses.md" },
    modulePreload: false,
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 2000,
    rollupOptions: {
      input: {
        style: `${web}/style.css`,
        page: `${web}/page.ts`,
        main: `${web}/main.ts`,
        docs: `${web}/docs.ts`,
      },
    },
  },
});
