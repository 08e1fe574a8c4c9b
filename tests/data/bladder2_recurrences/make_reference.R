# Recurrences of bladder cancer, rows (start, stop] per patient. Run inside this folder (R 4.2.2, survival 3.5.3).
suppressPackageStartupMessages({library(survival); library(jsonlite)})
d <- survival::bladder2; d$trt <- d$rx - 1
write.csv(d[, c("id", "trt", "number", "size", "start", "stop", "event", "enum")], "data.csv", row.names = FALSE)
cc <- coxph.control(eps = 1e-12, iter.max = 100, toler.chol = 1e-13)
numbers <- function(f, v) list(coef = as.list(coef(f)), se = as.list(setNames(sqrt(diag(v)), names(coef(f)))),
                               loglik = f$loglik[2])
robust <- coxph(Surv(start, stop, event) ~ trt + size + number + strata(enum) + cluster(id), d, control = cc)
plain <- coxph(Surv(start, stop, event) ~ trt + size + number, d, ties = "breslow", control = cc)
km <- summary(survfit(Surv(start, stop, event) ~ trt, d, conf.type = "log-log"), times = c(5, 10, 20, 30), extend = TRUE)
write_json(list(prentice_williams_peterson = numbers(robust, vcov(robust)), breslow = numbers(plain, vcov(plain)),
  survival = list(arm = ifelse(km$strata == "trt=1", "treated", "untreated"), time = km$time, estimate = km$surv,
                  se = km$std.err, low = km$lower, high = km$upper)), "reference.json", digits = NA, auto_unbox = TRUE)
