#include "emulated_fiber.h"

#include <cstdint>

#ifdef GS_EMULATION_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef GS_EMULATION_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#ifdef __x86_64__
extern "C" void gs_emulation_switch(void** save, void* to);
// ucontext's swap saves the signal mask with a system call each time, and a warp instruction is 64 switches. Saved: what a function must
// keep by the System V ABI.
asm(R"(
.text
.p2align 4
.globl gs_emulation_switch
.type gs_emulation_switch, @function
gs_emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size gs_emulation_switch, .-gs_emulation_switch
)");
#endif

namespace emulation {

void prepare_context(Context& context, void* bottom, std::size_t bytes, void (*entry)()) {
  context.bottom = bottom;
  context.bytes = bytes;
  context.fake_stack = nullptr;
#ifdef __x86_64__
  // From the top: a return address for entry() that nobody uses (which also aligns its frame), entry itself, six registers.
  const std::uintptr_t top = (reinterpret_cast<std::uintptr_t>(bottom) + bytes) & ~std::uintptr_t{15};
  std::uintptr_t* words = reinterpret_cast<std::uintptr_t*>(top) - 8;
  for (int i = 0; i < 8; ++i) words[i] = 0;
  words[6] = reinterpret_cast<std::uintptr_t>(entry);
  context.stack_pointer = words;
#else
  getcontext(&context.registers);
  context.registers.uc_stack.ss_sp = bottom;
  context.registers.uc_stack.ss_size = bytes;
  context.registers.uc_link = nullptr;
  makecontext(&context.registers, entry, 0);
#endif
#ifdef GS_EMULATION_TSAN
  if (context.sanitizer_thread == nullptr) context.sanitizer_thread = __tsan_create_fiber(0);
#endif
}

void switch_context(Context& from, Context& to, [[maybe_unused]] bool last) {
#ifdef GS_EMULATION_ASAN
  __sanitizer_start_switch_fiber(last ? nullptr : &from.fake_stack, to.bottom, to.bytes);
#endif
#ifdef GS_EMULATION_TSAN
  if (from.sanitizer_thread == nullptr) from.sanitizer_thread = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(to.sanitizer_thread, 0);
#endif
#ifdef __x86_64__
  gs_emulation_switch(&from.stack_pointer, to.stack_pointer);
#else
  swapcontext(&from.registers, &to.registers);
#endif
#ifdef GS_EMULATION_ASAN
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

void enter_context([[maybe_unused]] Context& from) {
#ifdef GS_EMULATION_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &from.bottom, &from.bytes);
#endif
}

}  // namespace emulation
