#include "apps/interrupt.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <thread>

#include "apps/terminal.h"

namespace gritstone {

std::stop_token install_signal_handling() {
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // Never destroyed: the waiting thread outlives main's locals.
  static auto* source = new std::stop_source;
  std::thread([signals] {
    int signal = 0;
    ::sigwait(&signals, &signal);
    print_err("\nInterrupted: finishing what is under way (once more to end at once)\n");
    source->request_stop();
    ::sigwait(&signals, &signal);
    ::_exit(128 + signal);
  }).detach();
  return source->get_token();
}

}  // namespace gritstone
