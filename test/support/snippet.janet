###
### support/snippet.janet
###
### Runs a snippet of the docs: janet snippet.janet FILE. Prints "evaluated" when all of it was, and
### "serving" when it serves and goes on.
###

(import kqnet)

(defn main
  [_ file]
  (def say |(do (print $) (flush)))
  (ev/go (fn []
           (while (empty? (kqnet/stats)) (ev/sleep 0.002))
           (say "serving")))
  (try (dofile file :env (make-env))
    ([err fib]
      (debug/stacktrace fib err "")
      (os/exit 1)))
  (say "evaluated"))
