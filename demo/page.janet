###
### The HTML of the guest book.
###

(def- entities {"&" "&amp;" "<" "&lt;" ">" "&gt;" `"` "&quot;" "'" "&#39;"})

(defn escape
  ``Makes a text harmless in HTML, between tags and in quoted attributes. Whatever a visitor has sent passes through here.
  Otherwise `<script>` in an entry would run in the page of everybody who reads it.``
  [text]
  (string (peg/replace-all '(set `&<>"'`) (fn [character] (entities character)) text)))

(defn- time-of
  "The time of an entry, a number, in UTC. The script shows it as it is where the visitor lives."
  [at]
  (def {:year year :month month :month-day day :hours hours :minutes minutes} (os/date at))
  (def text (string/format "%d-%02d-%02d %02d:%02d" year (inc month) (inc day) hours minutes))
  (string `<time datetime="` text `Z">` text " UTC</time>"))

(defn entry
  "An entry, for the page and for the pages that are open."
  [{:id id :name name :text text :at at :picture picture}]
  (string
    `<li id="entry-` id `"><article>`
    `<p class="text">` (escape text) "</p>"
    (if picture
      (string `<img src="/pictures/` (escape picture) `" alt="A picture from ` (escape name) `" loading="lazy">`)
      "")
    `<p class="by"><strong>` (escape name) `</strong> <a href="/entries/` id `">` (time-of at)
    "</a></p></article></li>\n"))

(defn whole
  "A page with a title and a body, which is HTML."
  [title & body]
  (string
    ```
    <!doctype html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <link rel="icon" href="/assets/icon.svg">
    <link rel="stylesheet" href="/assets/style.css">
    ```
    "\n<title>" (escape title) "</title>\n</head>\n<body>\n" ;body "</body>\n</html>\n"))

(defn message
  "A page that says one thing, and leads back to the book."
  [title text]
  (whole title "<main class=\"message\"><h1>" (escape title) "</h1><p>" (escape text)
         `</p><p><a href="/">Back to the guest book</a></p></main>`))

(defn one-entry
  "The page of one entry."
  [shown]
  (whole (string "An entry by " (shown :name))
         `<main class="message"><h1>Guest book</h1><ol class="entries">` (entry shown)
         `</ol><p><a href="/">All entries</a></p></main>`))

(def- form-start
  ```
  <form id="sign" class="card" action="/entries" method="post" enctype="multipart/form-data">
  <h2>Write something</h2>
  <label for="name">Your name</label>
  <input id="name" name="name" maxlength="40" required autocomplete="nickname"
  ```)

(def- form-end
  ```
  <label for="text">Your words</label>
  <textarea id="text" name="text" rows="3" maxlength="1000" required></textarea>
  <label for="picture">A picture, if you like <small>(PNG, JPEG, GIF or WebP, up to 256 KB)</small></label>
  <input id="picture" name="picture" type="file" accept="image/png,image/jpeg,image/gif,image/webp">
  <div class="row"><button>Sign the book</button> <span id="writing" role="status"></span></div>
  </form>
  ```)

(def- server-panel
  ```
  <aside class="card needs-script" aria-labelledby="server">
  <h2 id="server">This server, now <span id="live">connecting</span></h2>
  <dl id="statistics">
  <div><dt>readers</dt><dd data-is="readers">–</dd></div>
  <div><dt>requests</dt><dd data-is="requests">–</dd></div>
  <div><dt>connections</dt><dd data-is="active">–</dd></div>
  <div><dt>accepted</dt><dd data-is="accepted">–</dd></div>
  <div><dt>in batches</dt><dd data-is="batches">–</dd></div>
  <div><dt>largest batch</dt><dd data-is="largest">–</dd></div>
  </dl>
  <button id="burst" class="second">Send 300 requests</button>
  <div id="answers" aria-hidden="true"></div>
  <p id="outcome" role="status">Each square is a request of your browser, and turns green when it is answered.</p>
  </aside>
  ```)

(defn book
  "The page with the form and all entries, the newest first. `name` is what the visitor is called."
  [entries newest-id name]
  (whole "Guest book"
         `<script type="module" src="/assets/script.js"></script>`
         `<header><h1>Guest book</h1><p>A page served by <a href="https://janet-lang.org">Janet</a> and kqnet. `
         `What anyone writes appears on every open page at once.</p></header>`
         "\n<main>\n"
         form-start ` value="` (escape name) `">` "\n" form-end
         "\n" server-panel
         "\n<section aria-labelledby=\"heading\"><h2 id=\"heading\">Entries</h2>\n"
         `<p class="empty">Nobody has written anything yet.</p>`
         `<ol id="entries" class="entries" data-newest="` newest-id `">` "\n"
         ;(map entry entries)
         "</ol></section>\n</main>\n"))
