// Errors inside the server are errno values. `Errno` is never zero, so success
// cannot be sent as an error; `Result<T>` is a value or an Errno. No
// exceptions, no allocation; both types are plain values and may cross threads.
#ifndef HANDLEFS_PROTO_BASE_ERRNO_H_
#define HANDLEFS_PROTO_BASE_ERRNO_H_

#include <cerrno>
#include <utility>
#include <variant>

namespace handlefs {

class [[nodiscard]] Errno {
 public:
  // A zero or negative number is a programming error; it becomes EIO rather
  // than a success that nobody meant.
  explicit constexpr Errno(int value) : value_(value > 0 ? value : EIO) {}
  constexpr int value() const { return value_; }
  friend constexpr bool operator==(Errno a, Errno b) {
    return a.value_ == b.value_;
  }

 private:
  int value_;
};

// The errno of the system call that failed just now.
inline Errno LastErrno() { return Errno(errno); }

// Not an errno of the kernel (those end at 4095, and replies at 511): an op
// that ran in a place where it must not wait asks to be run again where it may.
inline constexpr Errno kWouldWait{0x7000};

struct Unit {};

template <typename T>
class [[nodiscard]] Result {
 public:
  using Value = T;
  Result(T value) : state_(std::move(value)) {}  // NOLINT: implicit by design
  Result(Errno error) : state_(error) {}         // NOLINT: implicit by design

  bool ok() const { return state_.index() == 0; }
  Errno error() const { return std::get<1>(state_); }
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }

 private:
  std::variant<T, Errno> state_;
};

using Status = Result<Unit>;
inline Status Ok() { return Unit{}; }

// Turns the usual "-1 and errno" of a system call into a Status.
inline Status Check(long rc) {
  if (rc < 0) return LastErrno();
  return Ok();
}

}  // namespace handlefs

#define HANDLEFS_CONCAT_(a, b) a##b
#define HANDLEFS_CONCAT(a, b) HANDLEFS_CONCAT_(a, b)

// NOLINTBEGIN(bugprone-macro-parentheses): names and declarations take none.
// ASSIGN_OR_RETURN(auto fd, Open(...)): the value, or leave with its Errno.
#define ASSIGN_OR_RETURN(lhs, expr) \
  ASSIGN_OR_RETURN_(HANDLEFS_CONCAT(result_, __LINE__), lhs, expr)
#define ASSIGN_OR_RETURN_(tmp, lhs, expr) \
  auto tmp = (expr);                      \
  if (!tmp.ok()) return tmp.error();      \
  lhs = std::move(tmp).value()
// NOLINTEND(bugprone-macro-parentheses)

#define RETURN_IF_ERROR(expr)                                         \
  do {                                                                \
    if (auto status_ = (expr); !status_.ok()) return status_.error(); \
  } while (false)

#endif  // HANDLEFS_PROTO_BASE_ERRNO_H_
