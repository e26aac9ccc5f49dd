// Descriptors with an owner. `UniqueFd` owns and closes; `BorrowedFd` is a view
// that must not outlive its owner and is passed by value. No bare `int fd`
// crosses a header of this project.
#ifndef HANDLEFS_IO_BASE_FD_H_
#define HANDLEFS_IO_BASE_FD_H_

#include <unistd.h>

#include <utility>

namespace handlefs {

class BorrowedFd {
 public:
  constexpr BorrowedFd() = default;
  constexpr explicit BorrowedFd(int fd) : fd_(fd) {}
  constexpr int get() const { return fd_; }
  constexpr explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  operator BorrowedFd() const& { return BorrowedFd(fd_); }  // NOLINT: a view
  operator BorrowedFd() && = delete;
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

}  // namespace handlefs

#endif  // HANDLEFS_IO_BASE_FD_H_
