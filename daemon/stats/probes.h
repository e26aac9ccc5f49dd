// Places where bpftrace and its like can look at requests (USDT): two
// instructions that do nothing while nobody looks. Made where sys/sdt.h is.
//
//   handlefs:request_start   unique, opcode, nodeid
//   handlefs:request_end     unique, opcode, nodeid, errno, nanoseconds
#ifndef HANDLEFS_DAEMON_STATS_PROBES_H_
#define HANDLEFS_DAEMON_STATS_PROBES_H_

#ifdef HANDLEFS_USDT
#include <sys/sdt.h>
#define HANDLEFS_PROBE_START(unique, opcode, node) \
  DTRACE_PROBE3(handlefs, request_start, unique, opcode, node)
#define HANDLEFS_PROBE_END(unique, opcode, node, error, ns) \
  DTRACE_PROBE5(handlefs, request_end, unique, opcode, node, error, ns)
#else
#define HANDLEFS_PROBE_START(unique, opcode, node) \
  do {                                             \
  } while (false)
#define HANDLEFS_PROBE_END(unique, opcode, node, error, ns) \
  do {                                                      \
  } while (false)
#endif

#endif  // HANDLEFS_DAEMON_STATS_PROBES_H_
