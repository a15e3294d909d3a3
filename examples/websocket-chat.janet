###
### A chat over WebSockets: what one page sends, all pages show.
### Usage: janet examples/websocket-chat.janet [port]
###

(import kqnet/http)
(import kqnet/websocket)

(def- page
  ```
  <!doctype html>
  <title>Chat</title>
  <ul id="messages"></ul>
  <form id="form"><input id="text" autofocus autocomplete="off"><button>Send</button></form>
  <script>
    const socket = new WebSocket(location.href.replace("http", "ws") + "chat");
    const show = (text) => {
      const item = document.createElement("li");
      item.textContent = text;
      document.getElementById("messages").append(item);
    };
    socket.onmessage = (event) => show(event.data);
    socket.onclose = () => show("(The connection has ended.)");
    document.getElementById("form").onsubmit = (event) => {
      event.preventDefault();
      socket.send(document.getElementById("text").value);
      document.getElementById("text").value = "";
    };
  </script>
  ```)

(def- inboxes
  "The channels of all who are in the chat, as keys."
  @{})

(defn- tell-all
  "Gives a message to all. Somebody whose inbox is full misses it, so that nobody waits for the slowest."
  [text]
  (eachk inbox inboxes
    (unless (ev/full inbox) (ev/give inbox text))))

(var- guests 0)

(defn- chat
  [ws]
  (def inbox (ev/chan 100))
  (def name (string "guest " (++ guests)))
  (put inboxes inbox true)
  (tell-all (string name " is here"))
  (defer (do
           (put inboxes inbox nil)
           (tell-all (string name " has left")))
    (var here true)
    (while here
      (def [_ from message] (ev/select inbox (ws :incoming)))
      (cond
        (= from inbox) (:write ws message)
        (string? message) (tell-all (string name ": " message))
        # The end, or a binary message, which no page of ours sends.
        (set here false)))))

(def- routes
  {"/" {:status 200 :headers {"Content-Type" "text/html; charset=utf-8"} :body page}
   "/chat" (fn [req] (websocket/upgrade req chat :max-message 4096))})

(defn main
  [_ &opt port]
  (default port "8000")
  (http/serve-forever (http/router routes) "127.0.0.1" (scan-number port)))
