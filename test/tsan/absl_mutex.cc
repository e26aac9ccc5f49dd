// For builds with the thread sanitizer only. The system's Abseil library is not
// instrumented, so the sanitizer does not see what absl::Mutex and
// absl::CondVar order and reports every use of guarded data. These definitions
// come before the library's own, call them, and tell the sanitizer. Only the
// functions that this project uses are here; one that is missing shows as false
// reports.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>

#include "absl/synchronization/mutex.h"

extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}

namespace {

// Whoever unlocks a mutex evaluates the conditions that others wait for, at a
// moment when the sanitizer was told already that the mutex is free.
class Inside {
 public:
  Inside() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~Inside() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
};

// The length of the inline namespace is a part of the mangled name.
#define STRING_(x) #x
#define STRING(x) STRING_(x)
constexpr char kNamespace[] = STRING(ABSL_OPTION_INLINE_NAMESPACE_NAME);

template <typename F>
F* Library(const char* name) {
  char mangled[256];
  std::snprintf(mangled, sizeof(mangled), "_ZN4absl%zu%s%s",
                sizeof(kNamespace) - 1, kNamespace, name);
  void* found = dlsym(RTLD_NEXT, mangled);
  if (found == nullptr) {
    std::fprintf(stderr, "no %s in the Abseil library\n", mangled);
    std::abort();
  }
  return reinterpret_cast<F*>(found);
}

// The graph of mutexes that the library keeps in search of deadlocks has a lock
// of its own, which the sanitizer cannot see.
[[maybe_unused]] const bool no_graph = [] {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  return true;
}();

}  // namespace

namespace absl {
ABSL_NAMESPACE_BEGIN

void Mutex::Lock() {
  static auto* real = Library<void(Mutex*)>("5Mutex4LockEv");
  real(this);
  __tsan_acquire(this);
}

void Mutex::Unlock() {
  static auto* real = Library<void(Mutex*)>("5Mutex6UnlockEv");
  __tsan_release(this);
  Inside inside;
  real(this);
}

bool Mutex::TryLock() {
  static auto* real = Library<bool(Mutex*)>("5Mutex7TryLockEv");
  bool locked = real(this);
  if (locked) __tsan_acquire(this);
  return locked;
}

void Mutex::ReaderLock() {
  static auto* real = Library<void(Mutex*)>("5Mutex10ReaderLockEv");
  real(this);
  __tsan_acquire(this);
}

void Mutex::ReaderUnlock() {
  static auto* real = Library<void(Mutex*)>("5Mutex12ReaderUnlockEv");
  __tsan_release(this);
  Inside inside;
  real(this);
}

void Mutex::Await(const Condition& condition) {
  static auto* real =
      Library<void(Mutex*, const Condition&)>("5Mutex5AwaitERKNS0_9ConditionE");
  __tsan_release(this);
  {
    Inside inside;
    real(this, condition);
  }
  __tsan_acquire(this);
}

bool Mutex::AwaitWithTimeout(const Condition& condition, Duration timeout) {
  static auto* real = Library<bool(Mutex*, const Condition&, Duration)>(
      "5Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE");
  __tsan_release(this);
  bool result;
  {
    Inside inside;
    result = real(this, condition, timeout);
  }
  __tsan_acquire(this);
  return result;
}

void CondVar::Wait(Mutex* mutex) {
  static auto* real =
      Library<void(CondVar*, Mutex*)>("7CondVar4WaitEPNS0_5MutexE");
  __tsan_release(mutex);
  {
    Inside inside;
    real(this, mutex);
  }
  __tsan_acquire(mutex);
}

bool CondVar::WaitWithTimeout(Mutex* mutex, Duration timeout) {
  static auto* real = Library<bool(CondVar*, Mutex*, Duration)>(
      "7CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE");
  __tsan_release(mutex);
  bool result;
  {
    Inside inside;
    result = real(this, mutex, timeout);
  }
  __tsan_acquire(mutex);
  return result;
}

bool CondVar::WaitWithDeadline(Mutex* mutex, Time deadline) {
  static auto* real = Library<bool(CondVar*, Mutex*, Time)>(
      "7CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE");
  __tsan_release(mutex);
  bool result;
  {
    Inside inside;
    result = real(this, mutex, deadline);
  }
  __tsan_acquire(mutex);
  return result;
}

ABSL_NAMESPACE_END
}  // namespace absl
