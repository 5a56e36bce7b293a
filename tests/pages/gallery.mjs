// Looks at the gallery (cargo run -p agentwright-pages --example gallery -- DIR) in both sizes and schemes:
// node gallery.mjs DIR SCREENSHOTS [PAGE…]

import { createServer } from "node:http";
import { readFile, mkdir, readdir } from "node:fs/promises";
import { join, normalize } from "node:path";
import { launch, listen, flaws, SIZES, SCHEMES } from "./browser.mjs";

const [dir, shots, ...only] = process.argv.slice(2);
const TYPES = { html: "text/html", css: "text/css", js: "text/javascript", svg: "image/svg+xml", webmanifest: "application/manifest+json" };
const server = createServer(async (request, response) => {
  const path = normalize(new URL(request.url, "http://x").pathname);
  if (path === "/live") return response.writeHead(204).end();
  try {
    const body = await readFile(join(dir, path));
    response.writeHead(200, {
      "content-type": TYPES[path.split(".").pop()] ?? "text/plain",
      "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'self'; frame-ancestors 'none'",
    });
    response.end(body);
  } catch { response.writeHead(404).end(); }
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const base = `http://127.0.0.1:${server.address().port}`;
await mkdir(shots, { recursive: true });
const names = (await readdir(dir)).filter((name) => name.endsWith(".html")).map((name) => name.slice(0, -5)).filter((name) => !only.length || only.includes(name));
const browser = await launch();
let bad = 0;
for (const [size, viewport] of Object.entries(SIZES)) for (const colorScheme of SCHEMES) {
  const context = await browser.newContext({ viewport, colorScheme });
  for (const name of names) {
    const page = await context.newPage();
    const complaints = [];
    listen(page, complaints, (text) => /EventSource/.test(text));
    await page.goto(`${base}/${name}.html`);
    await page.waitForTimeout(150);
    complaints.push(...await flaws(page));
    await page.screenshot({ path: join(shots, `${name}-${size}-${colorScheme}.png`), fullPage: true });
    for (const one of complaints) console.log(`${name} ${size} ${colorScheme}: ${one}`);
    bad += complaints.length;
    await page.close();
  }
  await context.close();
}
await browser.close();
server.close();
console.log(`${names.length} pages, ${bad} complaints`);
process.exitCode = bad ? 1 : 0;
