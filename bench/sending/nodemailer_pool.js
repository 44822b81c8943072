// One run of nodemailer's pool: `node nodemailer_pool.js PORT CONNECTIONS COUNT LETTER.json`; prints one JSON line.
const fs = require("fs");
const nodemailer = require("nodemailer");

const [port, connections, count] = process.argv.slice(2, 5).map(Number);
const letter = JSON.parse(fs.readFileSync(process.argv[5], "utf8"));
const transport = nodemailer.createTransport({
  host: "127.0.0.1", port, pool: true, maxConnections: connections, maxMessages: Infinity, ignoreTLS: true,
});

function mail(number) {
  const name = "guest" + String(number).padStart(7, "0");
  return {
    from: "Bore <cobros@bore.example>",
    to: name + "@mailbox.example",
    subject: "Your payment, " + name,
    messageId: `<${name}.1@bore.example>`,
    text: letter.text.replaceAll("{name}", name),
    html: letter.html.replaceAll("{name}", name),
  };
}

let sent = 0, accepted = 0;
async function worker() {
  while (sent < count) {
    await transport.sendMail(mail(sent++));
    accepted++;
  }
}

async function main() {
  await Promise.all(Array.from({ length: connections }, () => transport.sendMail(mail(0)))); // opens the pool
  const began = process.hrtime.bigint(), cpu = process.cpuUsage();
  await Promise.all(Array.from({ length: 2 * connections }, worker));
  const seconds = Number(process.hrtime.bigint() - began) / 1e9, used = process.cpuUsage(cpu);
  console.log(JSON.stringify({ count: accepted, seconds, cpu: (used.user + used.system) / 1e6 }));
  transport.close();
}

main().catch((error) => { console.error(error); process.exit(1); });
