#include "daemon/check.h"

#include <linux/magic.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "daemon/credentials.h"
#include "daemon/kernel_probe.h"
#include "daemon/mount.h"
#include "daemon/mounted_source.h"
#include "daemon/negotiate.h"
#include "daemon/serve.h"
#include "daemon/uring_parameter.h"
#include "handles/nodes.h"
#include "handles/source.h"
#include "io/uring_transport.h"

namespace handlefs {
namespace {

absl::string_view View(std::string_view text) {
  return {text.data(), text.size()};
}

std::string Message(const absl::Status& status) {
  return std::string(status.message().data(), status.message().size());
}

std::string NameOf(uint64_t magic) {
  struct Known {
    uint64_t magic;
    const char* name;
  };
  for (auto [known, name] : {
           Known{EXT4_SUPER_MAGIC, "ext4"},
           Known{XFS_SUPER_MAGIC, "xfs"},
           Known{BTRFS_SUPER_MAGIC, "btrfs"},
           Known{TMPFS_MAGIC, "tmpfs"},
           Known{OVERLAYFS_SUPER_MAGIC, "overlayfs"},
           Known{FUSE_SUPER_MAGIC, "fuse"},
           Known{NFS_SUPER_MAGIC, "nfs"},
       }) {
    if (known == magic) return name;
  }
  return absl::StrCat("file system 0x", absl::Hex(magic));
}

Finding IdentityOf(const Nodes& nodes, const Options& options) {
  const HostFs& fs = nodes.file_systems().main();
  if (fs.has_handles) {
    return {"identity", "handle",
            absl::StrCat(NameOf(fs.magic), ", handles of form ",
                         View(fs.codec.name()))};
  }
  return {"identity", "fd",
          options.identity == Identity::kFd
              ? "as asked for: a descriptor for each known file"
              : nodes.file_systems().why_not_handles()};
}

Finding TransportOf(const Negotiated& negotiated, const Options& options) {
  if (negotiated.flags.Has(proto::init::kOverIoUring)) {
    auto cpus = io::ReadCpus();
    if (!cpus.ok()) return {"transport", "dev", Message(cpus.status())};
    return {"transport", "uring",
            absl::StrCat(cpus->possible, " queues, one for each CPU")};
  }
  std::string why;
  if (options.transport == Transport::kDev) {
    why = "as asked for";
  } else if (options.restart == Restart::kLossless) {
    why = std::string(kLosslessIsDev);
  } else if (ReadUringParameter() == UringParameter::kOff) {
    why = kUringIsOff;
  } else {
    why = "the kernel has no FUSE over io_uring (Linux 6.14)";
  }
  return {"transport", "dev", std::move(why)};
}

Finding SchedulingOf(const Options& options) {
  if (options.scheduling == io::Scheduling::kNormal) {
    return {"scheduling", "normal", "as asked for"};
  }
  if (std::string_view why = io::Yielder::WhyNot(); !why.empty()) {
    return {"scheduling", "normal", std::string(why)};
  }
  return {"scheduling", "auto",
          "threads that serve give way while requests come fast"};
}

Finding PassthroughOf(const Negotiated& negotiated, const Options& options,
                      const HostFacts& facts) {
  if (negotiated.flags.Has(proto::init::kPassthrough)) {
    return {"passthrough", "on",
            facts.source_is_stacked
                ? "the source is stacked: files for which the kernel refuses "
                  "it go through the server"
                : ""};
  }
  return {"passthrough", "off",
          options.passthrough == Passthrough::kOff ? "as asked for"
          : facts.can_register_backing
              ? "the kernel has no FUSE passthrough (Linux 6.9)"
              : "it needs CAP_SYS_ADMIN"};
}

Finding CacheOf(const Options& options) {
  switch (options.cache) {
    case Cache::kNone:
      return {"cache", "none", "every call asks the host"};
    case Cache::kAlways:
      return {"cache", "always",
              "changes made on the host may stay unseen for ever"};
    case Cache::kAuto:
      break;
  }
  return {"cache", "auto",
          absl::StrCat("changes made on the host are seen within ",
                       options.timeout, " s")};
}

}  // namespace

CheckReport Check(const Options& options) {
  CheckReport report;
  auto fail = [&report](ExitCode code, std::string error) {
    report.code = code;
    report.error = std::move(error);
    return report;
  };
  utsname name{};
  uname(&name);
  auto in = AskKernel();
  const Privileges privileges = ReducePrivileges();
  report.findings.push_back(
      {"kernel", absl::StrCat(name.sysname, " ", name.release),
       in.ok() ? absl::StrCat("FUSE protocol ", in->major, ".", in->minor)
               : absl::StrCat("cannot be asked what its FUSE offers: ",
                              std::strerror(in.error().value()))});

  if (auto refused = RefuseUnmountedSource(options)) {
    return fail(refused->code, refused->message);
  }
  auto source = OpenSource(options.source, options.submounts);
  if (!source.ok()) return fail(ExitCode::kSource, Message(source.status()));
  Nodes::Config config{.identity = options.identity};
  auto nodes = Nodes::Make(std::move(*source), config);
  if (!nodes.ok()) return fail(ExitCode::kSource, Message(nodes.status()));
  report.findings.push_back({"source", (*nodes)->source().path, ""});
  report.findings.push_back(IdentityOf(**nodes, options));
  report.findings.push_back(CacheOf(options));
  if (!in.ok()) return report;

  const HostFs& fs = (*nodes)->file_systems().main();
  HostFacts facts{.can_register_backing = privileges.mount,
                  .is_device = true,
                  .dir_positions_last = fs.dir_positions_last,
                  .source_is_stacked = fs.is_stacked};
  InitAnswer answer = Negotiate(*in, options, facts);
  if (auto* refused = std::get_if<Refused>(&answer)) {
    return fail(ExitCode::kHandshake, refused->why);
  }
  if (auto* negotiated = std::get_if<Negotiated>(&answer)) {
    report.findings.push_back(TransportOf(*negotiated, options));
    report.findings.push_back(SchedulingOf(options));
    report.findings.push_back(PassthroughOf(*negotiated, options, facts));
    report.findings.push_back({"dialect",
                               std::string(negotiated->dialect->name),
                               negotiated->evidence});
  }
  if (!options.mount_point.empty() && DescriptorOf(options.mount_point) < 0) {
    auto checked = CheckMountPoint(options.mount_point);
    if (auto* error = std::get_if<StartError>(&checked)) {
      return fail(error->code, error->message);
    }
    report.findings.push_back(
        {"mountpoint", std::get<std::string>(checked), ""});
  }
  return report;
}

std::string ToText(const CheckReport& report) {
  std::string out;
  for (const Finding& finding : report.findings) {
    std::string what = finding.what;
    what.resize(std::max<size_t>(what.size() + 1, 13), ' ');
    absl::StrAppend(&out, what, finding.used,
                    finding.why.empty() ? "" : absl::StrCat(": ", finding.why),
                    "\n");
  }
  if (!report.error.empty()) {
    absl::StrAppend(&out, "would fail   ", report.error, "\n");
  }
  return out;
}

std::string ToJson(const CheckReport& report) {
  nlohmann::ordered_json out;
  out["findings"] = nlohmann::ordered_json::object();
  for (const Finding& finding : report.findings) {
    auto& entry = out["findings"][finding.what];
    entry["used"] = finding.used;
    if (!finding.why.empty()) entry["why"] = finding.why;
  }
  out["status"] = ToInt(report.code);
  if (!report.error.empty()) out["error"] = report.error;
  // Paths are any bytes; what is no UTF-8 is shown as U+FFFD.
  return out.dump(2, ' ', false,
                  nlohmann::ordered_json::error_handler_t::replace) +
         "\n";
}

}  // namespace handlefs
