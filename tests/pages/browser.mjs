// What every look at a page needs: the browser, sizes and schemes, axe, sideways scroll.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const require = createRequire(import.meta.url);
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

export const SIZES = { desktop: { width: 1280, height: 900 }, phone: { width: 390, height: 844 } };
export const SCHEMES = ["light", "dark"];

export async function launch() {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  return chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
}

// Notes everything that a page complains about; `allowed` are answers that a test asks for.
export function listen(page, complaints, allowed = () => false) {
  page.on("console", (message) => {
    const bad = message.type() === "error" || message.type() === "warning";
    if (bad && !allowed(message.text())) complaints.push(`${page.url()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`${page.url()}: ${error}`));
}

// What is wrong with how the page is: for people who do not see it, and on a narrow screen.
export async function flaws(page) {
  const found = [];
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wide > 0) {
    const widest = await page.evaluate(() => {
      const edge = document.documentElement.clientWidth;
      const over = [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > edge + 1);
      return over.slice(0, 4).map((one) => `${one.tagName}.${one.className}`);
    });
    found.push(`scrolls sideways by ${wide} px: ${widest.join(", ")}`);
  }
  // Through the debugger, which no content security policy holds back.
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  for (const one of violations) {
    found.push(`axe ${one.id}: ${one.help}: ${one.nodes.slice(0, 2).map((node) => `${node.html.slice(0, 140)} (${node.any.concat(node.all)[0]?.message ?? ""})`).join(" | ")}`);
  }
  return found;
}
