// Steps on descriptors: data, positions, mappings, locks.
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "exec.h"

namespace oracle {

namespace {

constexpr int64_t kAlign = 4096;

sigjmp_buf g_sigbus;

void OnSigbus(int) { siglongjmp(g_sigbus, 1); }

// Bytes which depend on the step and on the place, so that misplaced data
// shows.
void Fill(char* buf, size_t n, uint32_t val) {
  uint32_t x = val * 2654435761u + 1;
  for (size_t i = 0; i < n; i++) {
    x = x * 1664525u + 1013904223u;
    buf[i] = static_cast<char>(x >> 24);
  }
}

}  // namespace

bool Exec::Direct(int slot) const {
  return slots_[slot].fd >= 0 && (slots_[slot].flags & O_DIRECT) != 0;
}

void Exec::PutPos(const char* label, int fd) {
  int64_t pos = Err(lseek(fd, 0, SEEK_CUR));
  out_->push_back({Tag::kPos, label, pos, std::string()});
}

void Exec::Open(const Op& op) {
  CloseSlot(op.slot);
  // A FIFO without a peer must not block the run.
  int flags = static_cast<int>(op.flags) | O_NONBLOCK | O_CLOEXEC;
  int fd = openat(DirFd(op.p), PathBytes(op.p).c_str(), flags, op.mode);
  Ret(fd < 0 ? Err(fd) : 0);
  if (fd >= 0) slots_[op.slot] = {fd, op.flags};
}

void Exec::Reopen(const Op& op) {
  int flags = static_cast<int>(op.flags) & ~(O_CREAT | O_EXCL | O_NOFOLLOW);
  std::string name = std::to_string(Fd(op.slot));
  int fd = openat(proc_fd_, name.c_str(), flags | O_NONBLOCK | O_CLOEXEC);
  Ret(fd < 0 ? Err(fd) : 0);
  CloseSlot(op.slot2);
  if (fd >= 0) slots_[op.slot2] = {fd, static_cast<uint32_t>(flags)};
}

void Exec::ReadWrite(const Op& op) {
  int fd = Fd(op.slot);
  size_t n = std::min<size_t>(op.n, kMaxIo);
  int64_t off = op.off;
  Kind kind = op.kind;
  bool reads =
      kind == Kind::kRead || kind == Kind::kPread || kind == Kind::kReadv;
  if (Direct(op.slot)) {
    n = std::max<size_t>(n & ~(kAlign - 1), kAlign);
    off &= ~(kAlign - 1);
    kind = reads ? Kind::kPread : Kind::kPwrite;
  }
  if (reads) {
    memset(buffer_, 0x5a, n);
  } else {
    Fill(buffer_, n, op.val);
  }
  iovec iov[3] = {{buffer_, n / 4},
                  {buffer_ + n / 4, n / 2},
                  {buffer_ + n / 4 + n / 2, n - n / 4 - n / 2}};
  int64_t ret = 0;
  if (kind == Kind::kRead) ret = Err(read(fd, buffer_, n));
  if (kind == Kind::kPread) ret = Err(pread(fd, buffer_, n, off));
  if (kind == Kind::kReadv) ret = Err(readv(fd, iov, 3));
  if (kind == Kind::kWrite) ret = Err(write(fd, buffer_, n));
  if (kind == Kind::kPwrite) ret = Err(pwrite(fd, buffer_, n, off));
  if (kind == Kind::kWritev) ret = Err(writev(fd, iov, 3));
  Ret(ret);
  if (ret < 0) return;
  if (reads) Put(Tag::kData, 0, DataText(buffer_, static_cast<size_t>(ret)));
  PutPos("", fd);
}

void Exec::Lseek(const Op& op) {
  int fd = Fd(op.slot);
  int whence = static_cast<int>(op.flags % 5);
  struct stat st;
  if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
    // Any other position of a directory is private to its file system.
    Ret(Err(lseek(fd, 0, SEEK_SET)));
    return;
  }
  if (whence != SEEK_DATA && whence != SEEK_HOLE) {
    Ret(Err(lseek(fd, op.off, whence)));
    return;
  }
  off_t here = lseek(fd, 0, SEEK_CUR);
  Put(Tag::kSeekHole, Err(lseek(fd, op.off, whence)));
  if (here >= 0) lseek(fd, here, SEEK_SET);
}

void Exec::Mmap(const Op& op) {
  int fd = Fd(op.slot);
  struct stat st = {};
  if (fstat(fd, &st) != 0) {
    Ret(-errno);
    return;
  }
  int64_t start = op.off & ~(kAlign - 1);
  int64_t shift = op.off - start;
  int64_t len = std::max<int64_t>(1, std::min<int64_t>(op.n, 65536));
  if (S_ISREG(st.st_mode)) len = std::min<int64_t>(len, st.st_size - op.off);
  // A mapping behind the end of the file only earns a SIGBUS.
  if (!S_ISREG(st.st_mode) || len <= 0) {
    Put(Tag::kRet, 0, "nothing to map");
    return;
  }
  bool store = (op.flags & kVariant) == 0;
  size_t size = static_cast<size_t>(shift + len);
  char* m = static_cast<char*>(mmap(nullptr, size,
                                    PROT_READ | (store ? PROT_WRITE : 0),
                                    MAP_SHARED, fd, start));
  if (m == MAP_FAILED) {
    Ret(-errno);
    return;
  }
  Ret(0);
  struct sigaction action = {}, old;
  action.sa_handler = OnSigbus;
  sigaction(SIGBUS, &action, &old);
  if (sigsetjmp(g_sigbus, 1) == 0) {
    memcpy(buffer_, m + shift, static_cast<size_t>(len));
    out_->push_back(
        {Tag::kData, "mapped", 0, DataText(buffer_, static_cast<size_t>(len))});
    if (store) {
      Fill(m + shift, static_cast<size_t>(len), op.val);
      int ms = (op.flags & 1) != 0 ? MS_ASYNC : MS_SYNC;
      out_->push_back({Tag::kRet, "msync", Err(msync(m, size, ms)), {}});
    }
  } else {
    Put(Tag::kSignal, 0, "SIGBUS");
  }
  sigaction(SIGBUS, &old, nullptr);
  munmap(m, size);
  if (Direct(op.slot)) return;
  int64_t ret = Err(pread(fd, buffer_, static_cast<size_t>(len), op.off));
  out_->push_back({Tag::kRet, "pread", ret, {}});
  if (ret > 0) {
    out_->push_back(
        {Tag::kData, "pread", 0, DataText(buffer_, static_cast<size_t>(ret))});
  }
}

void Exec::CopyRange(const Op& op) {
  if (Direct(op.slot) || Direct(op.slot2)) return;
  int in = Fd(op.slot), out = Fd(op.slot2);
  off64_t off_in = op.off, off_out = op.off2;
  int64_t ret = Err(copy_file_range(in, op.off < 0 ? nullptr : &off_in, out,
                                    op.off2 < 0 ? nullptr : &off_out,
                                    std::min<size_t>(op.n, kMaxIo), 0));
  Ret(ret);
  if (ret < 0) return;
  PutPos("@s", in);
  PutPos("@t", out);
}

void Exec::Sendfile(const Op& op) {
  if (Direct(op.slot) || Direct(op.slot2)) return;
  int in = Fd(op.slot), out = Fd(op.slot2);
  struct stat st;
  // How much a pipe takes depends on how the pages are cut.
  if (fstat(out, &st) == 0 && S_ISFIFO(st.st_mode)) return;
  off_t off = op.off;
  int64_t ret = Err(sendfile(out, in, op.off < 0 ? nullptr : &off,
                             std::min<size_t>(op.n, kMaxIo)));
  Ret(ret);
  if (ret < 0) return;
  PutPos("@s", in);
  PutPos("@t", out);
}

void Exec::Lock(const Op& op) {
  static const int kCmd[] = {F_GETLK, F_SETLK, F_OFD_GETLK, F_OFD_SETLK};
  static const short kType[] = {F_RDLCK, F_WRLCK, F_UNLCK};
  struct flock lock = {};
  lock.l_type = kType[op.val % 3];
  lock.l_whence = SEEK_SET;
  lock.l_start = op.off;
  lock.l_len = op.n;
  int cmd = kCmd[op.flags & 3];
  int ret = fcntl(Fd(op.slot), cmd, &lock);
  Ret(Err(ret));
  if (ret < 0 || cmd == F_SETLK || cmd == F_OFD_SETLK) return;
  std::string text = lock.l_type == F_RDLCK   ? "RDLCK"
                     : lock.l_type == F_WRLCK ? "WRLCK"
                                              : "UNLCK";
  if (lock.l_type != F_UNLCK) {
    text += " " + std::to_string(lock.l_whence) + ":" +
            std::to_string(lock.l_start) + "+" + std::to_string(lock.l_len);
    std::string owner = lock.l_pid == -1 ? "an open file" : "somebody else";
    for (int i = 0; i < kIdents; i++) {
      if (pids_[i] == lock.l_pid) owner = kIdentity[i].name;
    }
    text += " of " + owner;
  }
  Put(Tag::kLockInfo, 0, text);
}

void Exec::Setfl(const Op& op) {
  if (Direct(op.slot)) return;
  int fd = Fd(op.slot);
  int flags = O_NONBLOCK | static_cast<int>(op.flags & (O_APPEND | O_NOATIME));
  Ret(Err(fcntl(fd, F_SETFL, flags)));
  constexpr int kShown =
      O_ACCMODE | O_APPEND | O_NONBLOCK | O_NOATIME | O_DIRECT | O_SYNC;
  int now = fcntl(fd, F_GETFL);
  out_->push_back(
      {Tag::kRet, "F_GETFL", now < 0 ? Err(now) : now & kShown, {}});
}

}  // namespace oracle
