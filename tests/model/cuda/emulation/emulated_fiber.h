// Contexts of execution with stacks of their own, switched by hand. Knows AddressSanitizer and ThreadSanitizer.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define GS_EMULATION_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GS_EMULATION_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define GS_EMULATION_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define GS_EMULATION_TSAN 1
#endif
#endif

#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace emulation {

struct Context {
#ifdef __x86_64__
  void* stack_pointer = nullptr;
#else
  ucontext_t registers = {};
#endif
  void* fake_stack = nullptr;        // AddressSanitizer's
  const void* bottom = nullptr;      // of the stack
  std::size_t bytes = 0;             // of the stack
  void* sanitizer_thread = nullptr;  // ThreadSanitizer's
};

// Makes `context` start with entry(), which never returns, on the given stack.
void prepare_context(Context& context, void* bottom, std::size_t bytes, void (*entry)());

// Returns when something switches back to `from`; never if `last`.
void switch_context(Context& from, Context& to, bool last = false);

// The first thing entry() does; `from` is the context it was switched to from.
void enter_context(Context& from);

}  // namespace emulation
