// The servers of cargo xtask bench on Node, with the same answers as http.janet. They end when their input does.
// Usage: node node.js http FOLDER PORT | node node.js websocket PORT
"use strict";
const fs = require("fs");
const http = require("http");
const path = require("path");

const port = Number(process.argv[process.argv.length - 1]);
const small = "hello, world";
const kilobyte = Buffer.alloc(1024, "x");
const megabyte = Buffer.alloc(1024 * 1024, "x");

function send(response, body) {
  response.writeHead(200, { "Content-Type": "text/plain", "Content-Length": Buffer.byteLength(body) });
  response.end(body);
}

function sendFile(response, file) {
  fs.stat(file, (error, stat) => {
    if (error) {
      response.writeHead(404);
      return response.end();
    }
    response.writeHead(200, { "Content-Type": "text/plain", "Content-Length": stat.size });
    fs.createReadStream(file).on("error", () => response.destroy()).pipe(response);
  });
}

function handler(folder) {
  return (request, response) => {
    if (request.url === "/1k") return send(response, kilobyte);
    if (request.url === "/1m") return send(response, megabyte);
    if (request.url.startsWith("/files/")) return sendFile(response, path.join(folder, path.basename(request.url)));
    if (request.url !== "/up") return send(response, small);
    let length = 0;
    request.on("data", (data) => (length += data.length));
    request.on("end", () => send(response, String(length)));
  };
}

function onlyWebsockets(request, response) {
  response.writeHead(426);
  response.end();
}

const server = http.createServer(process.argv[2] === "http" ? handler(process.argv[3]) : onlyWebsockets);
// Idle connections are measured for longer than Node would keep them.
Object.assign(server, { keepAliveTimeout: 0, headersTimeout: 0, requestTimeout: 0, timeout: 0 });
if (process.argv[2] === "websocket") {
  const { WebSocketServer } = require("ws");
  new WebSocketServer({ server }).on("connection", (socket) => {
    socket.on("error", () => {});
    socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
  });
}
server.listen({ port, host: "127.0.0.1", backlog: 4096 });
process.stdin.on("end", () => process.exit(0)).resume();
