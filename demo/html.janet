###
### What all pages of the demo have in common: escaping, and the frame around what a page shows.
###

(def- entities {"&" "&amp;" "<" "&lt;" ">" "&gt;" `"` "&quot;" "'" "&#39;"})

(defn escape
  ``Makes a text harmless in HTML, between tags and in quoted attributes. Whatever a visitor has sent passes through here.
  Otherwise `<script>` in an entry would run in the page of everybody who reads it.``
  [text]
  (string (peg/replace-all '(set `&<>"'`) (fn [character] (entities character)) text)))

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
  "A page that says one thing, and leads back to the first page."
  [title text]
  (whole title "<main class=\"message\"><h1>" (escape title) "</h1><p>" (escape text)
         `</p><p><a href="/">Back to the first page</a></p></main>`))
