/* A stand-in for NVIDIA's management library, for tests on machines without a card.
 *
 * It answers from the text file that NVML_STUB_STATE names, read again at every call. Without that variable it behaves
 * like a machine without a driver. With NVML_STUB_LOG, the name of every function called is appended to that file.
 *
 * The file has one fact a line; sizes are bytes, names have _ for spaces:
 *     init CODE                                  nvmlInit answers CODE
 *     driver 580.65.06
 *     card uuid=GPU-a name=A100 bus=0000:01:00.0 total=N reserved=N used=N util=N temp=N power=N energy=N lost=CODE
 *          mig=1 ecc=N pending=1 remap=1 throttle=BITS (in the same line)
 *     mig parent=GPU-a uuid=MIG-b name=A100_MIG_1g.5gb total=N reserved=N used=N
 *     process uuid=GPU-a pid=N bytes=N kind=C|G|M sm=N untold=1 hidden=1 foreign=1
 *     error FUNCTION CODE [UUID]                 FUNCTION answers CODE, for all cards or for one
 *     xid uuid=GPU-a code=79 seq=N               an event for sets that the card was registered in before seq N was there
 * ecc counts uncorrected errors, pending=1 are retired pages and remap=1 remapped rows that wait for a reset.
 * With energy=0 the counter grows by itself, at the power of the card. `used` is what no process explains. The memory of a process is gone as soon as the process is. With untold=1 it is in
 * use but not told of the process (WSL), with hidden=1 the process is in no list (a container); with foreign=1 the
 * number is one of another process namespace, and stays.
 *
 * Build: gcc -shared -fPIC -Wl,-soname,libnvidia-ml.so.1 -o libnvidia-ml.so.1 stub.c
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { OK, UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED, NOT_FOUND = 6, INSUFFICIENT_SIZE, TIMED_OUT = 10,
       LIBRARY_NOT_FOUND = 12, GPU_IS_LOST = 15 };
enum { MOST_CARDS = 64, MOST_PROCESSES = 256, MOST_ERRORS = 32, MOST_XIDS = 32, XID_EVENT = 8 };
#define NOT_AVAILABLE 0xFFFFFFFFFFFFFFFFull

typedef unsigned long long u64;
typedef struct { u64 total, free, used; } Memory;
typedef struct { unsigned version; u64 total, reserved, free, used; } MemoryV2;
typedef struct { unsigned gpu, memory; } Rates;
typedef struct { unsigned pid; u64 bytes; } ProcessV1;
typedef struct { unsigned pid; u64 bytes; unsigned gpu_instance, compute_instance; } Process;
typedef struct { unsigned pid; u64 time; unsigned sm, memory, encoder, decoder; } ProcessRate;
typedef struct {
    char legacy[16];
    unsigned domain, bus, device, pci_device, pci_subsystem;
    char id[32];
} Pci;

typedef struct {
    char uuid[96], parent[96], name[96], bus[32];
    u64 total, reserved, used, energy, ecc, throttle;
    int is_mig, mig, lost, util, temp, power, pending, remap;
} Card;
typedef struct { char uuid[96], kind; int pid, sm, untold, hidden, foreign; u64 bytes; } Use;
typedef struct { char function[80], uuid[96]; int code; } Failure;
typedef struct { char uuid[96]; u64 code, seq; } Xid;
typedef struct { void *device; u64 type, data; unsigned gpu_instance, compute_instance; } Event;
typedef struct { int cards; char uuid[MOST_CARDS][96]; u64 told; } EventSet;

static struct {
    int init, cards, uses, failures, xids;
    char driver[64];
    Card card[MOST_CARDS];
    Use use[MOST_PROCESSES];
    Failure failure[MOST_ERRORS];
    Xid xid[MOST_XIDS];
} now;
static int initialised;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *handles[MOST_CARDS];

/* --- the state file */

static const char *value(const char *line, const char *key, const char *otherwise) {
    static char found[8][96];
    static int turn;
    char wanted[32];
    snprintf(wanted, sizeof wanted, " %s=", key);
    const char *at = strstr(line, wanted);
    if (!at) return otherwise;
    char *into = found[turn = (turn + 1) % 8];
    sscanf(at + strlen(wanted), "%95s", into);
    return into;
}

static u64 number(const char *line, const char *key) { return strtoull(value(line, key, "0"), NULL, 10); }

static void read_card(const char *line, int is_mig) {
    if (now.cards == MOST_CARDS) return;
    Card *card = &now.card[now.cards++];
    snprintf(card->uuid, sizeof card->uuid, "%s", value(line, "uuid", "?"));
    snprintf(card->parent, sizeof card->parent, "%s", value(line, "parent", ""));
    snprintf(card->name, sizeof card->name, "%s", value(line, "name", "Stand-in"));
    snprintf(card->bus, sizeof card->bus, "%s", value(line, "bus", "0000:01:00.0"));
    for (char *letter = card->name; *letter; letter++) if (*letter == '_') *letter = ' ';
    card->total = number(line, "total"), card->reserved = number(line, "reserved"), card->used = number(line, "used");
    card->energy = number(line, "energy"), card->util = number(line, "util"), card->temp = number(line, "temp");
    card->ecc = number(line, "ecc"), card->throttle = number(line, "throttle");
    card->pending = number(line, "pending"), card->remap = number(line, "remap");
    card->power = number(line, "power"), card->lost = number(line, "lost"), card->mig = number(line, "mig");
    card->is_mig = is_mig;
}

static void read_use(const char *line) {
    if (now.uses == MOST_PROCESSES) return;
    Use *use = &now.use[now.uses++];
    snprintf(use->uuid, sizeof use->uuid, "%s", value(line, "uuid", "?"));
    use->kind = *value(line, "kind", "C"), use->pid = number(line, "pid"), use->sm = number(line, "sm");
    use->bytes = number(line, "bytes"), use->untold = number(line, "untold");
    use->hidden = number(line, "hidden"), use->foreign = number(line, "foreign");
}

static void read_xid(const char *line) {
    if (now.xids == MOST_XIDS) return;
    Xid *xid = &now.xid[now.xids++];
    snprintf(xid->uuid, sizeof xid->uuid, "%s", value(line, "uuid", "?"));
    xid->code = number(line, "code"), xid->seq = number(line, "seq");
}

static void read_state(void) {
    char line[1024], word[32];
    memset(&now, 0, sizeof now);
    const char *path = getenv("NVML_STUB_STATE");
    FILE *file = path && *path ? fopen(path, "r") : NULL;
    if (!file) {
        now.init = LIBRARY_NOT_FOUND;
        return;
    }
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%31s", word) != 1) continue;
        if (!strcmp(word, "init")) sscanf(line, "init %d", &now.init);
        else if (!strcmp(word, "driver")) sscanf(line, "driver %63s", now.driver);
        else if (!strcmp(word, "card")) read_card(line, 0);
        else if (!strcmp(word, "mig")) read_card(line, 1);
        else if (!strcmp(word, "process")) read_use(line);
        else if (!strcmp(word, "xid")) read_xid(line);
        else if (!strcmp(word, "error") && now.failures < MOST_ERRORS) {
            Failure *failure = &now.failure[now.failures++];
            sscanf(line, "error %79s %d %95s", failure->function, &failure->code, failure->uuid);
        }
    }
    fclose(file);
}

/* --- who is there */

static int alive(const Use *use) {
    char path[64], state = 'X';
    if (use->foreign) return 1;
    snprintf(path, sizeof path, "/proc/%d/stat", use->pid);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    fscanf(file, "%*d (%*[^)]) %c", &state);
    fclose(file);
    return state != 'Z' && state != 'X';
}

static int is_on(const Use *use, const Card *card) {
    if (!strcmp(use->uuid, card->uuid)) return 1;
    for (int i = 0; i < now.cards; i++)
        if (!strcmp(now.card[i].uuid, use->uuid)) return !strcmp(now.card[i].parent, card->uuid);
    return 0;
}

static u64 used_bytes(const Card *card) {
    u64 sum = card->used;
    for (int i = 0; i < now.uses; i++)
        if (is_on(&now.use[i], card) && alive(&now.use[i])) sum += now.use[i].bytes;
    return sum < card->total - card->reserved ? sum : card->total - card->reserved;
}

/* A handle is the card's uuid, kept for good: it stays with the card, whatever its number. */
static void *handle_of(const char *uuid) {
    for (int i = 0; i < MOST_CARDS; i++) {
        if (!handles[i]) handles[i] = strdup(uuid);
        if (!strcmp(handles[i], uuid)) return (void *)handles[i];
    }
    return NULL;
}

static Card *card_of(void *handle) {
    for (int i = 0; i < now.cards; i++)
        if (handle && !strcmp(now.card[i].uuid, handle)) return &now.card[i];
    return NULL;
}

static Card *nth(unsigned index, int is_mig, const char *parent) {
    for (int i = 0; i < now.cards; i++)
        if (now.card[i].is_mig == is_mig && (!parent || !strcmp(now.card[i].parent, parent)) && !index--)
            return &now.card[i];
    return NULL;
}

/* --- the frame of every function */

static int begin(const char *function, void *handle, int about_card) {
    pthread_mutex_lock(&lock);
    read_state();
    const char *log = getenv("NVML_STUB_LOG");
    FILE *file = log && *log ? fopen(log, "a") : NULL;
    if (file) fprintf(file, "%s %s\n", function, handle ? (char *)handle : "-"), fclose(file);
    if (now.init) return now.init;
    if (!initialised && strncmp(function, "nvmlInit", 8)) return UNINITIALIZED;
    if (about_card && !card_of(handle)) return handle ? GPU_IS_LOST : INVALID_ARGUMENT;
    if (about_card && card_of(handle)->lost) return card_of(handle)->lost;
    for (int i = 0; i < now.failures; i++) {
        Failure *failure = &now.failure[i];
        int meant = !*failure->uuid || (handle && !strcmp(failure->uuid, handle));
        if (meant && !strcmp(failure->function, function)) return failure->code;
    }
    return OK;
}

static int end(int code) {
    pthread_mutex_unlock(&lock);
    return code;
}

#define ANSWER(handle, about_card, body)                         \
    do {                                                         \
        int code = begin(__func__, handle, about_card);          \
        if (code) return end(code);                              \
        Card *card = about_card ? card_of(handle) : NULL;        \
        (void)card;                                              \
        body;                                                    \
        return end(OK);                                          \
    } while (0)
#define SYSTEM(body) ANSWER(NULL, 0, body)
#define ABOUT(body) ANSWER(device, 1, body)
#define TEXT(function, text) \
    int function(void *device, char *into, unsigned size) { ABOUT(snprintf(into, size, "%s", text)); }
#define NUMBER(function, type, expression) \
    int function(void *device, type *into) { ABOUT(*into = expression); }
#define WITH_KIND(function, expression) \
    int function(void *device, unsigned kind, unsigned *into) { ABOUT((void)kind; *into = expression); }

/* --- the system */

int nvmlInitWithFlags(unsigned flags) { SYSTEM((void)flags; initialised++); }
int nvmlInit_v2(void) { SYSTEM(initialised++); }
int nvmlShutdown(void) { SYSTEM(initialised -= initialised > 0); }
int nvmlSystemGetDriverVersion(char *into, unsigned size) { SYSTEM(snprintf(into, size, "%s", now.driver)); }
int nvmlSystemGetNVMLVersion(char *into, unsigned size) { SYSTEM(snprintf(into, size, "13.%s", now.driver)); }
int nvmlSystemGetCudaDriverVersion(int *into) { SYSTEM(*into = 13000); }
int nvmlSystemGetCudaDriverVersion_v2(int *into) { SYSTEM(*into = 13000); }
int nvmlDeviceGetCount_v2(unsigned *into) { SYSTEM(for (*into = 0; nth(*into, 0, NULL); ++*into)); }
int nvmlDeviceGetCount(unsigned *into) { SYSTEM(for (*into = 0; nth(*into, 0, NULL); ++*into)); }

const char *nvmlErrorString(int code) {
    static const char *const texts[] = {
        "Success", "Uninitialized", "Invalid Argument", "Not Supported", "Insufficient Permissions",
        "Already Initialized", "Not Found", "Insufficient Size", "Insufficient External Power", "Driver Not Loaded",
        "Timeout", "Interrupt Request Issue", "NVML Shared Library Not Found", "Function Not Found", "Corrupted infoROM",
        "GPU is lost", "GPU requires reset", "The operating system has blocked the request",
        "Driver/library version mismatch", "In use by another client", "Insufficient Memory" };
    return code >= 0 && code < (int)(sizeof texts / sizeof *texts) ? texts[code] : "Unknown Error";
}

/* --- which card */

static int give(const char *function, Card *card, void **into) {
    int code = card ? begin(function, (void *)card->uuid, 1) : NOT_FOUND;
    if (!code) *into = handle_of(card->uuid);
    return card ? end(code) : code;
}

static Card *find(const char *key, unsigned index, int is_mig, const char *parent) {
    static Card copy;
    Card *card = NULL;
    pthread_mutex_lock(&lock);
    read_state();
    if (!key) card = nth(index, is_mig, parent);
    for (int i = 0; key && i < now.cards; i++)
        if (!strcmp(now.card[i].uuid, key) || !strcasecmp(now.card[i].bus, key)) card = &now.card[i], i = now.cards;
    if (card) copy = *card;
    pthread_mutex_unlock(&lock);
    return card ? &copy : NULL;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **into) {
    return give(__func__, find(NULL, index, 0, NULL), into);
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **into) { return give(__func__, find(uuid, 0, 0, NULL), into); }
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **into) {
    return give(__func__, find(bus, 0, 0, NULL), into);
}
int nvmlDeviceGetMigDeviceHandleByIndex(void *device, unsigned index, void **into) {
    return give(__func__, find(NULL, index, 1, device), into);
}
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(void *device, void **into) { ABOUT(*into = handle_of(card->parent)); }
NUMBER(nvmlDeviceIsMigDeviceHandle, unsigned, card->is_mig)
NUMBER(nvmlDeviceGetMaxMigDeviceCount, unsigned, card->mig ? 7 : 0)
int nvmlDeviceGetMigMode(void *device, unsigned *current, unsigned *pending) { ABOUT(*current = *pending = card->mig); }

/* --- what it is */

static unsigned place(const Card *card) {
    unsigned index = 0;
    while (nth(index, 0, NULL) && nth(index, 0, NULL) != card) index++;
    return index;
}

TEXT(nvmlDeviceGetUUID, card->uuid)
TEXT(nvmlDeviceGetName, card->name)
NUMBER(nvmlDeviceGetIndex, unsigned, place(card))
NUMBER(nvmlDeviceGetMinorNumber, unsigned, place(card))
int nvmlDeviceGetPciInfo_v3(void *device, Pci *into) {
    ABOUT(memset(into, 0, sizeof *into); snprintf(into->id, sizeof into->id, "%s", card->bus);
          sscanf(card->bus, "%x:%x:%x", &into->domain, &into->bus, &into->device));
}
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) { ABOUT(*major = 8; *minor = 0); }

/* --- how it is */

NUMBER(nvmlDeviceGetPowerUsage, unsigned, card->power)
NUMBER(nvmlDeviceGetEnforcedPowerLimit, unsigned, 400000)
NUMBER(nvmlDeviceGetPowerManagementLimit, unsigned, 400000)
static u64 drawn_mj(const Card *card) {
    struct timespec at;
    if (card->energy) return card->energy;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (at.tv_sec * 1000ull + at.tv_nsec / 1000000) * card->power / 1000;
}
NUMBER(nvmlDeviceGetTotalEnergyConsumption, u64, drawn_mj(card))
NUMBER(nvmlDeviceGetPerformanceState, unsigned, 0)
NUMBER(nvmlDeviceGetPersistenceMode, unsigned, 1)
NUMBER(nvmlDeviceGetComputeMode, unsigned, 0)
NUMBER(nvmlDeviceGetFanSpeed, unsigned, 30)
NUMBER(nvmlDeviceGetDisplayActive, unsigned, 0)
NUMBER(nvmlDeviceGetDisplayMode, unsigned, 0)
WITH_KIND(nvmlDeviceGetTemperature, card->temp)
WITH_KIND(nvmlDeviceGetClockInfo, 1410)
WITH_KIND(nvmlDeviceGetMaxClockInfo, 1410)
int nvmlDeviceGetEncoderUtilization(void *device, unsigned *into, unsigned *us) { ABOUT(*into = 0; *us = 100000); }
int nvmlDeviceGetDecoderUtilization(void *device, unsigned *into, unsigned *us) { ABOUT(*into = 0; *us = 100000); }
int nvmlDeviceGetTotalEccErrors(void *device, unsigned kind, unsigned counter, u64 *into) {
    ABOUT((void)counter; *into = kind ? card->ecc : 0);
}
NUMBER(nvmlDeviceGetRetiredPagesPendingStatus, unsigned, card->pending)
NUMBER(nvmlDeviceGetCurrentClocksEventReasons, u64, card->throttle)
NUMBER(nvmlDeviceGetCurrentClocksThrottleReasons, u64, card->throttle)
int nvmlDeviceGetRemappedRows(void *device, unsigned *corrected, unsigned *lost, unsigned *pending, unsigned *failed) {
    ABOUT(*corrected = *failed = 0; *lost = *pending = card->remap);
}
int nvmlDeviceGetUtilizationRates(void *device, Rates *into) {
    int code = begin(__func__, device, 1);
    if (!code && card_of(device)->is_mig) code = NOT_SUPPORTED;
    if (!code) *into = (Rates){card_of(device)->util, card_of(device)->util / 2};
    return end(code);
}
int nvmlDeviceGetMemoryInfo(void *device, Memory *into) {
    ABOUT(into->total = card->total; into->used = card->reserved + used_bytes(card);
          into->free = into->total - into->used);
}
int nvmlDeviceGetMemoryInfo_v2(void *device, MemoryV2 *into) {
    ABOUT(into->total = card->total; into->reserved = card->reserved; into->used = used_bytes(card);
          into->free = card->total - card->reserved - into->used);
}

/* --- who is on it */

static int list(const char *function, void *device, char kind, int v1, unsigned *count, void *into) {
    int code = begin(function, device, 1);
    unsigned room = *count, found = 0;
    for (int i = 0; !code && i < now.uses; i++) {
        Use *use = &now.use[i];
        if (use->kind != kind || use->hidden || !is_on(use, card_of(device)) || !alive(use)) continue;
        u64 bytes = use->untold ? NOT_AVAILABLE : use->bytes;
        if (into && found < room && v1) ((ProcessV1 *)into)[found] = (ProcessV1){use->pid, bytes};
        if (into && found < room && !v1) ((Process *)into)[found] = (Process){use->pid, bytes, -1, -1};
        found++;
    }
    if (!code) *count = found;
    return end(!code && (found > room || (found && !into)) ? INSUFFICIENT_SIZE : code);
}

#define PROCESSES(name, kind)                                                                                        \
    int name(void *device, unsigned *count, void *into) { return list(__func__, device, kind, 1, count, into); }      \
    int name##_v2(void *device, unsigned *count, void *into) { return list(__func__, device, kind, 0, count, into); } \
    int name##_v3(void *device, unsigned *count, void *into) { return list(__func__, device, kind, 0, count, into); }
PROCESSES(nvmlDeviceGetComputeRunningProcesses, 'C')
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses, 'G')
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses, 'M')

int nvmlDeviceGetProcessUtilization(void *device, ProcessRate *into, unsigned *count, u64 since) {
    int code = begin(__func__, device, 1);
    unsigned room = *count, found = 0;
    for (int i = 0; !code && i < now.uses; i++) {
        Use *use = &now.use[i];
        if (!use->sm || !is_on(use, card_of(device)) || !alive(use)) continue;
        if (into && found < room) into[found] = (ProcessRate){use->pid, since + 1, use->sm, 0, 0, 0};
        found++;
    }
    if (!code) *count = found;
    /* Where there is no sample, the real one says Success to the question for their number. */
    return end(!code && found && (!into || found > room) ? INSUFFICIENT_SIZE : code);
}

/* --- what happens to it: an event set is given what comes after its card was registered */

int nvmlEventSetCreate(void **into) { SYSTEM(*into = calloc(1, sizeof(EventSet))); }
int nvmlEventSetFree(void *set) { SYSTEM(free(set)); }
NUMBER(nvmlDeviceGetSupportedEventTypes, u64, XID_EVENT)

int nvmlDeviceRegisterEvents(void *device, u64 types, void *into) {
    EventSet *set = into;
    int code = begin(__func__, device, 1);
    if (!code && (!(types & XID_EVENT) || card_of(device)->is_mig)) code = NOT_SUPPORTED;
    if (!code && set->cards < MOST_CARDS) {
        snprintf(set->uuid[set->cards++], sizeof set->uuid[0], "%s", (char *)device);
        for (int i = 0; set->cards == 1 && i < now.xids; i++)
            if (now.xid[i].seq > set->told) set->told = now.xid[i].seq;
    }
    return end(code);
}

int nvmlEventSetWait_v2(void *from, Event *into, unsigned timeout_ms) {
    EventSet *set = from;
    struct timespec nap = {timeout_ms / 1000, timeout_ms % 1000 * 1000000};
    for (int patient = timeout_ms > 0;; patient = 0) {
        int code = begin(__func__, NULL, 0);
        for (int i = 0; !code && i < now.xids; i++) {
            Xid *xid = &now.xid[i];
            if (xid->seq <= set->told) continue;
            set->told = xid->seq;
            for (int card = 0; card < set->cards; card++)
                if (!strcmp(set->uuid[card], xid->uuid)) {
                    *into = (Event){handle_of(xid->uuid), XID_EVENT, xid->code, -1, -1};
                    return end(OK);
                }
        }
        end(code);
        if (code || !patient) return code ? code : TIMED_OUT;
        nanosleep(&nap, NULL);
    }
}
