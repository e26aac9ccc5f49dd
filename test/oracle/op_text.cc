// Replay format: one step per line, "kind key=value ...", zero values left out.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "op.h"

namespace oracle {

const Identity kIdentity[kIdents] = {
    {"root", 0, 0, 0, {}},
    {"u1", 1001, 1001, 2, {2001, 2002}},
    {"u2", 1002, 1002, 1, {2002}},
    {"u3", 1003, 1003, 0, {}},
};

namespace {

struct Name {
  const char* token;
  std::string bytes;
};

std::string Repeat(const char* s, int n) {
  std::string r;
  for (int i = 0; i < n; i++) r += s;
  return r;
}

const std::vector<Name>& Names() {
  static const std::vector<Name> names = {
      {"a", "a"},
      {"b", "b"},
      {"c", "c"},
      {"d", "d"},
      {"e", "e"},
      {"f", "f"},
      {"D1", "D1"},
      {"D2", "D2"},
      {"D3", "D3"},
      {"<space>", " x y "},
      {"<bin>", "\x01\xff\xfe\x80\n\\"},
      {"<utf8>", "\xc3\xa4\xe2\x82\xac"},
      {"<L255>", std::string(255, 'l')},
      {"<L256>", std::string(256, 'm')},
      {".", "."},
      {"..", ".."},
      // With one more component of one byte this is PATH_MAX exactly.
      {"<dots>", Repeat("./", 2046) + "."},
      {"...", "..."},
  };
  return names;
}

struct Flag {
  uint32_t bit;
  const char* name;
};

const Flag kOpenFlags[] = {
    {O_CREAT, "CREAT"},     {O_EXCL, "EXCL"},           {O_TRUNC, "TRUNC"},
    {O_APPEND, "APPEND"},   {O_NOFOLLOW, "NOFOLLOW"},   {O_PATH, "PATH"},
    {O_TMPFILE, "TMPFILE"}, {O_DIRECTORY, "DIRECTORY"}, {O_DIRECT, "DIRECT"},
    {O_SYNC, "SYNC"},       {O_DSYNC, "DSYNC"},         {O_NOATIME, "NOATIME"},
};
const Flag kFallocFlags[] = {{1, "KEEP_SIZE"},
                             {2, "PUNCH_HOLE"},
                             {8, "COLLAPSE"},
                             {16, "ZERO_RANGE"},
                             {32, "INSERT"}};
const Flag kRenameFlags[] = {
    {1, "NOREPLACE"}, {2, "EXCHANGE"}, {4, "WHITEOUT"}};
const Flag kInodeFlags[] = {{FS_NOATIME_FL, "NOATIME"},
                            {FS_NODUMP_FL, "NODUMP"},
                            {FS_APPEND_FL, "APPEND"},
                            {FS_IMMUTABLE_FL, "IMMUTABLE"}};
const Flag kXattrFlags[] = {{1, "CREATE"}, {2, "REPLACE"}};

template <size_t N>
std::string FlagText(const Flag (&table)[N], uint32_t v) {
  std::string s;
  for (const Flag& f : table) {
    if ((v & f.bit) != f.bit) continue;
    v &= ~f.bit;
    if (!s.empty()) s += '|';
    s += f.name;
  }
  return s;
}

}  // namespace

const int kPlainNames = 6;
const int kNormalNames = 9;
const int kDot = 14;
const int kDotDot = 15;

int NameCount() { return static_cast<int>(Names().size()); }
const char* NameToken(int i) { return Names()[i].token; }
const std::string& NameBytes(int i) { return Names()[i].bytes; }

int FindNameBytes(const std::string& bytes) {
  for (int i = 0; i < NameCount(); i++) {
    if (Names()[i].bytes == bytes) return i;
  }
  return -1;
}

int XattrNameCount() { return 11; }

const std::string& XattrName(int i) {
  static const std::string names[] = {
      "user.a",
      "user.b",
      "user." + std::string(250, 'n'),
      "trusted.t",
      "security.foo",
      "security.capability",
      "system.posix_acl_access",
      "system.posix_acl_default",
      "user.",
      "bogus.x",
      "user." + std::string(251, 'o'),
  };
  return names[i % XattrNameCount()];
}

const char* KindName(Kind k) {
  static const char* const names[] = {
#define X(id, name) name,
      ORACLE_KINDS(X)
#undef X
  };
  return k < Kind::kCount ? names[static_cast<int>(k)] : "?";
}

bool FindKind(const std::string& name, Kind* k) {
  for (int i = 0; i < kKinds; i++) {
    if (name == KindName(static_cast<Kind>(i))) {
      *k = static_cast<Kind>(i);
      return true;
    }
  }
  return false;
}

bool UsesSlot(Kind k) {
  return (k >= Kind::kOpen && k <= Kind::kFsync && k != Kind::kTruncate) ||
         k == Kind::kLinkProc || k == Kind::kLinkEmpty || k == Kind::kLock ||
         k == Kind::kFlock || k == Kind::kSetfl;
}

bool UsesSecondSlot(Kind k) {
  return k == Kind::kReopen || k == Kind::kCopyRange || k == Kind::kSendfile;
}

bool UsesPath(Kind k) {
  return k == Kind::kOpen ||
         (!UsesSlot(k) && k != Kind::kUmask && k != Kind::kGetcwd);
}

bool UsesSecondPath(Kind k) {
  return k == Kind::kLink || k == Kind::kLinkProc || k == Kind::kLinkEmpty ||
         k == Kind::kRename;
}

std::string PathBytes(const Path& p) {
  std::string s;
  if (p.base == Base::kAbs) s = "/";
  for (int i = 0; i < p.n; i++) {
    if (i > 0) s += '/';
    s += NameBytes(p.comp[i]);
  }
  if (p.slash) s += '/';
  return s;
}

std::string PathText(const Path& p) {
  std::string s;
  if (p.base == Base::kAbs) s = "/";
  if (p.base == Base::kSlot) s = "@" + std::to_string(p.slot);
  if (p.base == Base::kSlot && p.n > 0) s += '/';
  for (int i = 0; i < p.n; i++) {
    if (i > 0) s += '/';
    s += NameToken(p.comp[i]);
  }
  if (p.slash) s += '/';
  if (s.empty()) s = "\"\"";
  return s;
}

bool ParsePath(const std::string& text, Path* p) {
  *p = Path();
  size_t i = 0;
  if (text == "\"\"") return true;
  if (text[0] == '/') {
    p->base = Base::kAbs;
    i = 1;
  } else if (text[0] == '@') {
    p->base = Base::kSlot;
    if (text.size() < 2) return false;
    p->slot = static_cast<uint8_t>(text[1] - '0');
    if (p->slot >= kSlots) return false;
    i = 2;
    if (i < text.size() && text[i++] != '/') return false;
  }
  while (i < text.size()) {
    size_t e = text.find('/', i);
    bool last = e == std::string::npos;
    std::string token = text.substr(i, last ? e : e - i);
    int found = -1;
    for (int k = 0; k < NameCount(); k++) {
      if (token == NameToken(k)) found = k;
    }
    if (found < 0 || p->n >= kMaxComps) return false;
    p->comp[p->n++] = static_cast<uint8_t>(found);
    if (last) return true;
    i = e + 1;
    if (i == text.size()) p->slash = 1;
  }
  return true;
}

std::string FormatOp(const Op& op) {
  static const Path kNone;
  char buf[64];
  std::string s = KindName(op.kind);
  s += std::string(" u=") + kIdentity[op.ident].name;
  auto num = [&](const char* key, int64_t v, const char* fmt) {
    if (v == 0) return;
    snprintf(buf, sizeof(buf), fmt, static_cast<long long>(v));
    s += std::string(" ") + key + "=" + buf;
  };
  num("s", op.slot, "%lld");
  num("t", op.slot2, "%lld");
  if (!(op.p == kNone)) s += " p=" + PathText(op.p);
  if (!(op.q == kNone)) s += " q=" + PathText(op.q);
  num("f", op.flags, "0x%llx");
  num("m", op.mode, "0%llo");
  num("v", op.val, "0x%llx");
  num("n", op.n, "%lld");
  num("o", op.off, "%lld");
  num("o2", op.off2, "%lld");
  num("obs", op.obs, "%lld");
  return s;
}

std::string DescribeOp(const Op& op) {
  static const char* const kAcc[] = {"RDONLY", "WRONLY", "RDWR", "ACC3"};
  std::string s;
  switch (op.kind) {
    case Kind::kOpen:
    case Kind::kReopen: {
      s = kAcc[op.flags & O_ACCMODE];
      std::string f = FlagText(kOpenFlags, op.flags);
      if (!f.empty()) s += "|" + f;
      break;
    }
    case Kind::kFallocate:
      s = FlagText(kFallocFlags, op.flags);
      break;
    case Kind::kRename:
      s = FlagText(kRenameFlags, op.flags);
      break;
    case Kind::kSetflags:
      s = FlagText(kInodeFlags, op.flags);
      break;
    case Kind::kSetxattr:
      s = XattrName(op.mode).substr(0, 32);
      if (op.flags & 3) s += " " + FlagText(kXattrFlags, op.flags & 3);
      break;
    case Kind::kGetxattr:
    case Kind::kRmxattr:
      s = XattrName(op.mode).substr(0, 32);
      break;
    case Kind::kLseek: {
      static const char* const kWhence[] = {"SET", "CUR", "END", "DATA",
                                            "HOLE"};
      if (op.flags < 5) s = kWhence[op.flags];
      break;
    }
    case Kind::kLock: {
      static const char* const kCmd[] = {"GETLK", "SETLK", "OFD_GETLK",
                                         "OFD_SETLK"};
      static const char* const kType[] = {"RDLCK", "WRLCK", "UNLCK"};
      s = std::string(kCmd[op.flags & 3]) + " " + kType[op.val % 3];
      break;
    }
    default:
      break;
  }
  if (op.flags & kNoFollow) s += s.empty() ? "nofollow" : " nofollow";
  return s;
}

bool ParseOp(const std::string& line, Op* op) {
  *op = Op();
  std::istringstream in(line.substr(0, line.find('#')));
  std::string word;
  if (!(in >> word) || !FindKind(word, &op->kind)) return false;
  while (in >> word) {
    size_t eq = word.find('=');
    if (eq == std::string::npos) return false;
    std::string key = word.substr(0, eq), v = word.substr(eq + 1);
    char* end = nullptr;
    long long x = strtoll(v.c_str(), &end, 0);
    bool number = !v.empty() && *end == '\0';
    if (key == "u") {
      int found = -1;
      for (int i = 0; i < kIdents; i++) {
        if (v == kIdentity[i].name) found = i;
      }
      if (found < 0) return false;
      op->ident = static_cast<uint8_t>(found);
    } else if (key == "p" || key == "q") {
      if (!ParsePath(v, key == "p" ? &op->p : &op->q)) return false;
    } else if (!number) {
      return false;
    } else if (key == "s" || key == "t") {
      if (x < 0 || x >= kSlots) return false;
      (key == "s" ? op->slot : op->slot2) = static_cast<uint8_t>(x);
    } else if (key == "f") {
      op->flags = static_cast<uint32_t>(x);
    } else if (key == "m") {
      op->mode = static_cast<uint32_t>(x);
    } else if (key == "v") {
      op->val = static_cast<uint32_t>(x);
    } else if (key == "n") {
      op->n = static_cast<uint32_t>(x);
    } else if (key == "o") {
      op->off = x;
    } else if (key == "o2") {
      op->off2 = x;
    } else if (key == "obs") {
      op->obs = static_cast<uint8_t>(x);
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace oracle
