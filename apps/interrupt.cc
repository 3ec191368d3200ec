#include "apps/interrupt.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <thread>

#include "apps/terminal.h"
#include "base/error.h"

namespace gritstone {
namespace {

// A handler and not sigwait in a thread with the signals blocked elsewhere: OpenBLAS starts its threads before main, and those would take
// an unblocked signal the default way.
int wake_pipe[2] = {-1, -1};
std::atomic<int> signals_seen{0};
static_assert(std::atomic<int>::is_always_lock_free);

extern "C" void on_signal(int signal) {
  if (signals_seen.fetch_add(1) > 0) ::_exit(128 + signal);
  const int saved = errno;
  const char byte = 0;
  [[maybe_unused]] const ssize_t ignored = ::write(wake_pipe[1], &byte, 1);
  errno = saved;
}

}  // namespace

std::stop_token install_signal_handling() {
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);
  // Never destroyed: the waiting thread outlives main's locals.
  static auto* source = new std::stop_source;
  if (::pipe2(wake_pipe, O_CLOEXEC) != 0) throw Error(ErrorCode::kStorage, "cannot create a pipe");
  std::thread([] {
    char byte = 0;
    while (::read(wake_pipe[0], &byte, 1) < 0 && errno == EINTR) {
    }
    print_err("\nInterrupted: finishing what is under way (once more to end at once)\n");
    source->request_stop();
  }).detach();
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  // Also where SIGINT was ignored at start: a shell without job control does that to background commands, yet whoever sends it means it.
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  return source->get_token();
}

}  // namespace gritstone
