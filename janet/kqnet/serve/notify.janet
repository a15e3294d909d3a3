###
### Telling systemd how the service is doing, as sd_notify(3) does.
###

(defn send
  ``Sends lines such as "READY=1" to the service manager, if there is one. What cannot be sent is lost: the service runs all
  the same.``
  [& lines]
  (when-let [path (os/getenv "NOTIFY_SOCKET")]
    (protect
      (with [socket (net/connect :unix path :datagram)]
        (net/write socket (string/join lines "\n"))))))
