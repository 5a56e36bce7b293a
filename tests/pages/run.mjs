// The pages in a real browser, against the real program: node run.mjs PROGRAM [SCREENSHOTS]
//
// A whole build is submitted, watched, approved, changed and rolled back by clicking, and once more without
// script; then every page is looked at in both sizes and both schemes. Ends with one line that counts.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { launch, listen, flaws, SIZES, SCHEMES } from "./browser.mjs";
import { Server, SlowModel } from "./server.mjs";

const [program, shots] = process.argv.slice(2);
// On two busy cores a build takes a minute.
const PATIENCE = 180_000;
const WEIGHT_MAX = 150_000;
const INTENT = "every night, keep a zip of the folder ~/notes in ~/backups and keep the last 7";
const ATTACK = `every hour, watch https://example.org/<script>alert(1)</script>"><img src=x onerror=alert(2)>`;

let passed = 0;
const failures = [];
async function check(name, work) {
  const start = Date.now();
  try { await work(); passed += 1; console.log(`ok   ${name} (${Date.now() - start} ms)`); }
  catch (error) { failures.push(name); console.log(`FAIL ${name}\n     ${String(error.stack ?? error).split("\n").slice(0, 9).join("\n     ")}`); }
}

const server = await Server.start(program);
const browser = await launch();
const complaints = [];
if (shots) await mkdir(shots, { recursive: true });

const context = await browser.newContext({ viewport: SIZES.desktop, colorScheme: "light", timezoneId: "Europe/Berlin" });
context.setDefaultTimeout(PATIENCE);
const page = await context.newPage();
listen(page, complaints);
let build = "";
const go = (path) => page.goto(server.base + path);
const chip = (words) => page.locator("h1 .chip", { hasText: words }).waitFor();

await check("the printed address logs in, and home teaches the first step", async () => {
  await page.goto(server.login);
  // Where the address asks for a click first, a person clicks.
  if (await page.locator("form[action$=login] button").count()) await page.click("form[action$=login] button");
  await page.waitForURL(server.base);
  await page.getByText("Say what you want built").waitFor();
});

await check("a sentence is matched while it is typed, and what is missing is asked", async () => {
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content");
  await go("new");
  await page.locator("#intent").pressSequentially("every night, keep a zip of the folder ~/notes", { delay: 1 });
  await page.locator("#matched .missing input").first().waitFor();
  await page.fill("#intent", INTENT);
  await page.locator("#matched", { hasText: "Can be built as it stands" }).waitFor();
  assert.match(await page.locator("#matched").innerText(), /backups/);
});

await check("a build is submitted by a click and followed live to its gate", async () => {
  await page.evaluate(() => { window.marked = true; });
  await page.getByRole("button", { name: "Build it" }).click();
  await page.waitForURL(/builds\/[0-9a-f-]{36}/);
  build = /builds\/([0-9a-f-]{36})/.exec(page.url())[1];
  await page.evaluate(() => {
    window.stayed = true; window.seen = {};
    const note = () => { for (const line of document.querySelectorAll(".log li")) window.seen[line.id] ??= Date.now(); };
    note();
    new MutationObserver(note).observe(document.getElementById("main"), { subtree: true, childList: true });
  });
  await page.getByRole("heading", { name: "Shall this be deployed?" }).waitFor();
  assert.equal(await page.evaluate(() => window.stayed), true, "the page was never loaded anew");
});

await check("news reach the page soon after their commit", async () => {
  const found = await page.evaluate(async (id) => {
    const answer = await fetch(`api/v1/builds/${id}/events?limit=500`);
    const { items } = await answer.json();
    const at = (one) => Date.parse(one.at ?? one.time), seq = (one) => one.seq ?? one.data?.seq ?? Number(one.id?.split(/[/:]/).pop());
    return items.map((one) => window.seen[`e${seq(one)}`] - at(one)).filter((ms) => ms >= 0);
  }, build);
  // The first lines were there before the page was watched.
  const live = found.slice(Math.min(3, found.length - 1)).sort((a, b) => a - b);
  console.log(`     from an event's time to the page: median ${live[live.length >> 1]} ms, fastest ${live[0]} ms, of ${live.length}`);
  assert.ok(live.length > 0 && live[live.length >> 1] < 5_000);
});

await check("it is approved by a click, and deployed", async () => {
  const digest = await page.locator(".subject .whole").innerText();
  assert.match(digest, /^sha256:[0-9a-f]{64}$/);
  await page.getByRole("button", { name: "Approve" }).click();
  await chip("Completed");
  await page.getByText("Deployed as").waitFor();
});

let name = "";
await check("it runs at a click, and its log is there", async () => {
  await page.locator(".reason.good a").click();
  await page.waitForURL(/deployments\//);
  name = page.url().split("deployments/")[1].split("?")[0];
  await page.getByRole("button", { name: "Run now" }).click();
  await page.locator("tbody .chip", { hasText: "Completed" }).first().waitFor();
  await page.locator("pre", { hasText: ".zip" }).waitFor();
});

await check("a change becomes version 2, and a click rolls back to version 1", async () => {
  await page.getByRole("link", { name: "Change" }).click();
  await page.fill("#intent", INTENT.replace("last 7", "last 9"));
  await page.locator("#matched", { hasText: "What changes" }).waitFor();
  await page.getByRole("button", { name: "Build it" }).click();
  await page.getByRole("button", { name: "Approve" }).click();
  await chip("Completed");
  await go(`deployments/${name}`);
  await page.getByRole("button", { name: "Roll back to version 1" }).click();
  await page.getByText("Version 1 is the active one now.").waitFor();
});

await check("without script: a build is submitted, approved and rejected by forms", async () => {
  const plain = await browser.newContext({ javaScriptEnabled: false, storageState: await context.storageState() });
  plain.setDefaultTimeout(PATIENCE);
  const form = await plain.newPage();
  for (const [answer, words] of [["Approve", "Completed"], ["Reject", "Rejected"]]) {
    await form.goto(`${server.base}new`);
    await form.fill("#intent", `${INTENT}, as plain-${answer.toLowerCase()}`);
    await form.getByRole("button", { name: "Show the plan only" }).click();
    await form.getByText("What it will be allowed to do").waitFor();
    await form.getByRole("button", { name: "Build it" }).click();
    await form.waitForURL(/builds\/[0-9a-f-]{36}/);
    const here = form.url().split("?")[0];
    await until(form, here, () => form.getByRole("button", { name: answer }).count());
    await form.getByRole("button", { name: answer }).click();
    await until(form, here, () => form.locator("h1 .chip", { hasText: words }).count());
  }
  await plain.close();
});

async function until(on, address, holds) {
  const end = Date.now() + PATIENCE;
  while (!await holds()) {
    const stands = await on.locator("h1").innerText();
    assert.ok(Date.now() < end, `${address} is still: ${stands}`);
    await on.waitForTimeout(1_000);
    await on.goto(address);
  }
}

await check("without script: the queue is filled, ordered and emptied by forms", async () => {
  const plain = await browser.newContext({ javaScriptEnabled: false, storageState: await context.storageState(), viewport: SIZES.phone });
  plain.setDefaultTimeout(PATIENCE);
  const form = await plain.newPage();
  await form.goto(`${server.base}queue`);
  await form.getByText("Nothing waits to be built").waitFor();
  for (const name of ["Notes zip", "Word count"]) {
    await form.getByLabel("What is it called?").fill(name);
    await form.getByLabel("What is wanted?").fill("Count the words of each note and append them to a table");
    await form.getByLabel("When is it done?").fill("one row for each note");
    await form.getByLabel("How soon?").last().selectOption("low");
    await form.getByRole("button", { name: "Add it" }).click();
    await form.getByText("It is in the queue").waitFor();
  }
  const names = () => form.locator("article h2").allInnerTexts();
  await form.getByRole("button", { name: "Move up Word count" }).click();
  await form.getByText("It is moved.").waitFor();
  assert.match((await names())[0], /Word count/);
  await until(form, `${server.base}queue`, () => form.getByText("needs a person's yes").count());
  const wide = await form.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= SIZES.phone.width, `${wide} px wide`);
  for (const name of ["Word count", "Notes zip"]) {
    await form.locator("article", { hasText: name }).locator("summary").click();
    await form.getByRole("button", { name: `Remove ${name}` }).click();
    await form.getByText("It is removed.").waitFor();
  }
  await plain.close();
});

await check("a hostile sentence stays text everywhere", async () => {
  await go("new");
  await page.fill("#intent", ATTACK);
  await page.locator("#matched .chip").waitFor();
  await page.getByRole("button", { name: "Build it" }).click();
  await page.waitForLoadState();
  for (const path of ["", "builds", "approvals", page.url().slice(server.base.length)]) {
    await go(path);
    assert.equal(await page.locator("img[src=x], main script").count(), 0, path);
  }
});

await check("after a crash of the server the page goes on by itself", async () => {
  await go("builds");
  await page.evaluate(() => { window.stayed = "yes"; });
  await server.kill();
  await page.locator("#offline").waitFor({ state: "visible" });
  await server.up();
  // Another boot may bring other files: the page loads itself anew, once.
  await page.waitForFunction(() => window.stayed === undefined && document.getElementById("offline")?.hidden);
  await page.locator("tbody tr").first().waitFor();
  complaints.splice(0, complaints.length, ...complaints.filter((one) => !/ERR_|Failed to load resource/.test(one)));
});

await check("what a model writes is seen while it writes it, as text", async () => {
  const model = await SlowModel.start();
  const config = `[[models.providers]]\nname = "slow"\nwire = "openai_chat"\nbase_url = "${model.url}"\n`;
  const other = await Server.start(program, config);
  const apart = await browser.newContext({ viewport: SIZES.desktop });
  try {
    const tab = await apart.newPage();
    listen(tab, complaints);
    await tab.goto(other.login);
    if (await tab.locator("form[action$=login] button").count()) await tab.click("form[action$=login] button");
    await tab.goto(`${other.base}new`);
    await tab.fill("#intent", "count the words of every text file in ~/notes and write the ten most frequent ones into ~/words.txt");
    await tab.getByRole("button", { name: "Build it" }).click();
    await tab.waitForURL(/builds\/[0-9a-f-]{36}/);
    await model.asked;
    const written = tab.locator("#writing pre");
    for (const [text, all] of [["<b>one</b>\n", "<b>one</b>\n"], ["two", "<b>one</b>\ntwo"]]) {
      const since = Date.now();
      model.write(text);
      await tab.waitForFunction((all) => document.querySelector("#writing pre")?.textContent === all, all);
      console.log(`     seen ${Date.now() - since} ms after it was written`);
    }
    assert.equal(await written.locator("b").count(), 0);
    await tab.reload();
    await tab.waitForFunction(() => document.querySelector("#writing pre")?.textContent === "<b>one</b>\ntwo");
    if (shots) await tab.screenshot({ path: join(shots, "writing-desktop-light.png"), fullPage: true });
    assert.deepEqual(await flaws(tab), []);
  } finally {
    await apart.close();
    await other.end();
    model.end();
  }
});

await check("the first view of a page weighs little enough", async () => {
  for (const path of ["", `builds/${build}`, "new", "insights"]) {
    const fresh = await browser.newContext({ storageState: await context.storageState(), viewport: SIZES.desktop });
    const tab = await fresh.newPage();
    const wire = await fresh.newCDPSession(tab);
    let bytes = 0;
    await wire.send("Network.enable");
    wire.on("Network.loadingFinished", (event) => { bytes += event.encodedDataLength; });
    await tab.goto(server.base + path);
    await tab.waitForTimeout(400);
    console.log(`     ${path || "home"}: ${(bytes / 1000).toFixed(1)} kB over the wire`);
    assert.ok(bytes > 5_000 && bytes <= WEIGHT_MAX, `${path} weighs ${bytes}`);
    await fresh.close();
  }
});

const PATHS = { home: "", builds: "builds", build: `builds/${build}`, approvals: "approvals", new: "new?intent=every+night%2C+keep+a+zip+of+~%2Fnotes", deployments: "deployments", deployment: `deployments/${name}`, services: "services", queue: "queue", report: "report", costs: "costs", insights: "insights", audit: "audit", settings: "settings", missing: "builds/nothing-like-it" };
for (const [size, viewport] of Object.entries(SIZES)) for (const colorScheme of SCHEMES) {
  const look = await browser.newContext({ viewport, colorScheme, storageState: await context.storageState() });
  const tab = await look.newPage();
  const noted = [];
  listen(tab, noted, (text) => /status of 404/.test(text));
  for (const [what, path] of Object.entries(PATHS)) {
    await check(`${what}, ${size}, ${colorScheme}`, async () => {
      noted.length = 0;
      await tab.goto(server.base + path);
      await tab.waitForTimeout(120);
      if (shots) await tab.screenshot({ path: join(shots, `${what}-${size}-${colorScheme}.png`), fullPage: true });
      assert.deepEqual([...await flaws(tab), ...noted], []);
    });
  }
  await look.close();
}

await check("no page complained in its console", async () => assert.deepEqual(complaints, []));

await browser.close();
await server.end();
console.log(`${passed} passed, ${failures.length} failed`);
process.exitCode = failures.length ? 1 : 0;
